// Training: a bias in front of a batch norm changes nothing, for the batch norm subtracts the mean. So its gradient,
// the sum of the batch norm's dx over all pixels, is zero,
//
//     sum of gamma * s * g - (offset + slope * (x - mean)) = gamma * s * dbeta - n * offset - 0 = 0
//
// but for rounding, and one reading of the gradient is saved. (With a group, the sum over all members is zero.)
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {

void cancel_bias(Schedule& schedule) {
  const auto readers = readers_of(schedule.graph);
  for (NodeId id = 0; id < schedule.end(); ++id) {
    const Node& node = schedule.node(id);
    const std::vector<NodeId>& own = readers[static_cast<std::size_t>(id)];
    schedule.at(id).bias_cancels =
        is_product(node) && node.bias && activation_of(node) == ops::Activation::none && !own.empty() &&
        std::ranges::all_of(own, [&](NodeId reader) { return is<ops::BatchNorm>(schedule.node(reader)); });
  }
}

}  // namespace brigade::network
