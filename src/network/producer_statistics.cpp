// Training: who measures mean and variance of a tensor for the batch norms that read it. A convolution can while it
// stores (one reading of the tensor saved); otherwise the first batch norm that wants them does.
//
// Statistics belong to the tensor, not to its reader, and those of a concatenation are those of its parts side by side.
// In a DenseNet, where every layer normalises all channels before it, each channel is measured once.
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

bool can_measure(const Node& node) {
  return (is<ops::Conv2d>(node) || is<ops::DepthwiseConv2d>(node)) && activation_of(node) == ops::Activation::none;
}

class Measuring {
 public:
  explicit Measuring(Schedule& schedule) : schedule_(schedule), known_(schedule.nodes.size(), false) {}

  // The parts of a concatenation share its statistics, if all are in their places.
  void share_among_parts(NodeId concat) {
    const std::vector<NodeId>& parts = schedule_.node(concat).inputs;
    std::int64_t first = 0;
    for (const NodeId part : parts) {
      if (schedule_.at(part).part_of != concat || schedule_.at(part).first_channel != first) return;
      first += channels(schedule_.node(part));
    }
    for (const NodeId part : parts) schedule_.at(part).shares_statistics = true;
  }

  void measure(NodeId x, NodeId norm) {
    if (known_[static_cast<std::size_t>(x)]) return;
    known_[static_cast<std::size_t>(x)] = true;
    const Node& node = schedule_.node(x);
    if (is<ops::Concat>(node) && schedule_.at(node.inputs.front()).shares_statistics &&
        schedule_.at(node.inputs.front()).part_of == x)
      for (const NodeId part : node.inputs) measure(part, norm);
    else if (can_measure(node))
      schedule_.at(x).stores_statistics = true;
    else
      schedule_.at(norm).measures.push_back(x);
  }

 private:
  Schedule& schedule_;
  std::vector<bool> known_;  // by NodeId: its statistics
};

}  // namespace

void producer_statistics(Schedule& schedule) {
  Measuring measuring(schedule);
  for (NodeId id = 0; id < schedule.end(); ++id) {
    const Node& node = schedule.node(id);
    if (is<ops::Concat>(node) && schedule.passes.producer_statistics) measuring.share_among_parts(id);
  }
  for (NodeId id = 0; id < schedule.end(); ++id) {
    const Node& node = schedule.node(id);
    if (!is<ops::BatchNorm>(node)) continue;
    if (schedule.passes.producer_statistics)
      measuring.measure(node.inputs.front(), id);
    else
      schedule.at(id).measures = {node.inputs.front()};
  }
}

}  // namespace brigade::network
