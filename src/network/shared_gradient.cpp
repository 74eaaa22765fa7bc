// Training: where several operations read a tensor, each has a gradient of its own for it, and they are added. The last
// of them in backward, the first in forward, does that in its own product where it can (ops::SharedGradient): so its
// share is never stored, and what is there is read and written once, beside arithmetic.
//
// In a residual network the tensor is a sum, whose gradient is then masked by its activation, and taken to batch norms
// that want sums over it before they can use it. With the sum's output and the norms' inputs read by the convolution,
// too, of the passes over memory between two blocks those of the additions, of the sum and of the norms' sums are
// gone: 8 of 11. A convolution with a stride finishes also the pixels that it has no share in.
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

// A batch norm whose gradient is that of the sum which alone reads it. (One that learns no gamma has no place for its
// sums to wait in.)
bool takes_sums(const Schedule& schedule, const std::vector<std::vector<NodeId>>& readers, NodeId norm) {
  const Node& node = schedule.node(norm);
  return is<ops::BatchNorm>(node) && node.scale && activation_of(node) == ops::Activation::none &&
         readers[static_cast<std::size_t>(norm)].size() == 1;
}

}  // namespace

void shared_gradient(Schedule& schedule) {
  const auto readers = readers_of(schedule.graph);
  const std::vector<bool> learns = learning(schedule.graph);
  for (NodeId id = 1; id < schedule.end(); ++id) {
    const std::vector<NodeId>& by = readers[static_cast<std::size_t>(id)];
    const Treatment& own = schedule.at(id);
    if (by.empty() || !learns[static_cast<std::size_t>(id)] || own.normalised_on_read || own.centred) continue;
    const auto* conv = std::get_if<ops::Conv2d>(&schedule.node(by.front()).operation);
    if (conv == nullptr || !conv->finishes_gradient() || (by.size() > 1 && by[1] == by.front())) continue;
    const auto* sum = std::get_if<ops::Add>(&schedule.node(id).operation);
    if (by.size() == 1 && sum == nullptr) continue;  // nothing to finish
    schedule.at(id).finished_by = by.front();
    if (sum == nullptr || sum->scale != 1) continue;
    for (const NodeId input : schedule.node(id).inputs)
      if (takes_sums(schedule, readers, input)) schedule.at(input).sums_given = true;
  }
}

}  // namespace brigade::network
