// Training: the gradient of a batch norm that only one convolution reads is never stored. The convolution takes it
// through the batch norm, from a cache (ops::GradientThrough), and what needs the sums over all pixels is subtracted
// later: x and dx are read, and dx is written, by the convolution and once more by the subtraction, where a batch norm
// by itself reads x and dy twice.
//
// What is subtracted is linear in x, so that all batch norms over a tensor (or over concatenations that it is part of)
// leave it to one subtraction before the tensor's own backward pass. In a DenseNet every layer normalises all channels
// before it; there the gradient of a dense block is read and written once for each layer, and centred once.
//
// The first of these batch norms in backward overwrites offset and slope, the others add to them: it must cover their
// channels. One that it does not cover remains as it is.
#include <map>

#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

// A range of channels of the outermost tensor whose statistics (and so whose offsets and slopes) are one array.
struct Range {
  NodeId whole;
  std::int64_t begin, end;
};

Range range_of(const Schedule& schedule, NodeId x) {
  const std::int64_t own = channels(schedule.node(x));
  Range range{x, 0, own};
  while (schedule.at(range.whole).shares_statistics) {
    range.begin += schedule.at(range.whole).first_channel;
    range.whole = schedule.at(range.whole).part_of;
  }
  range.end = range.begin + own;
  return range;
}

// Tensors with a backward pass of their own: x, or the parts of a concatenation that share its statistics.
void centre(Schedule& schedule, NodeId x) {
  const Node& node = schedule.node(x);
  const auto shares = [&](NodeId part) {
    return schedule.at(part).shares_statistics && schedule.at(part).part_of == x;
  };
  if (is<ops::Concat>(node) && std::ranges::all_of(node.inputs, shares))
    for (const NodeId part : node.inputs) centre(schedule, part);
  else
    schedule.at(x).centred = true;
}

}  // namespace

void gradient_through(Schedule& schedule) {
  const auto readers = readers_of(schedule.graph);
  const std::vector<bool> learns = learning(schedule.graph);
  std::map<NodeId, Range> first;  // by outermost tensor: what the first batch norm in backward covers
  for (NodeId reader = schedule.end() - 1; reader > 0; --reader) {
    const auto* conv = std::get_if<ops::Conv2d>(&schedule.node(reader).operation);
    if (conv == nullptr || !conv->takes_gradient_through()) continue;
    const NodeId norm = schedule.node(reader).inputs.front();
    if (!is<ops::BatchNorm>(schedule.node(norm)) || readers[static_cast<std::size_t>(norm)].size() != 1) continue;
    const NodeId x = schedule.node(norm).inputs.front();
    if (!learns[static_cast<std::size_t>(x)]) continue;
    const Range own = range_of(schedule, x);
    const auto [covered, is_first] = first.try_emplace(own.whole, own);
    if (own.begin < covered->second.begin || own.end > covered->second.end) continue;
    schedule.at(norm).gradient_through = true;
    schedule.at(norm).adds_rest = !is_first;
    centre(schedule, x);
  }
}

}  // namespace brigade::network
