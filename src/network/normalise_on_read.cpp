// A batch norm (with its activation) is never stored if whoever reads it can normalise while reading: the tensor, one
// writing and one reading of it are saved. Its backward pass needs the input and the gradient only, and those are there
// as before. Jung et al., "Restructuring Batch Normalization to Accelerate CNN Training", MLSys 2019.
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

bool can_normalise(const Node& reader) {
  if (const auto* conv = std::get_if<ops::Conv2d>(&reader.operation)) return conv->normalises_input();
  return is<ops::DepthwiseConv2d>(reader) || is<ops::Add>(reader);
}

}  // namespace

void normalise_on_read(Schedule& schedule) {
  const auto readers = readers_of(schedule.graph);
  for (NodeId id = 0; id < schedule.end(); ++id) {
    const std::vector<NodeId>& own = readers[static_cast<std::size_t>(id)];
    schedule.at(id).normalised_on_read =
        is<ops::BatchNorm>(schedule.node(id)) && !own.empty() &&
        std::ranges::all_of(own, [&](NodeId reader) { return can_normalise(schedule.node(reader)); });
  }
}

}  // namespace brigade::network
