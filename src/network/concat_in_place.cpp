// The parts of a concatenation are ranges of its channels from the start: who computes a part writes it there, with the
// distance between pixels that the whole has. A concatenation may itself be part of a later one; in a DenseNet each is
// the front of the next, and so a dense block is one tensor that its layers fill from left to right.
//
// A part whose place is taken (it is in another concatenation already, or in this one twice) is copied. So are images,
// which arrive dense, and what a flatten reads, which cannot skip channels.
//
// The planner does the same to gradients, with fewer conditions: the gradient of each part is a range of the whole's.
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {

void concat_in_place(Schedule& schedule) {
  const auto readers = readers_of(schedule.graph);
  const auto movable = [&](NodeId part) {
    const Node& node = schedule.node(part);
    return !is<Input>(node) && !schedule.at(part).normalised_on_read && schedule.at(part).part_of < 0 &&
           std::ranges::none_of(readers[static_cast<std::size_t>(part)],
                                [&](NodeId reader) { return is<Flatten>(schedule.node(reader)); });
  };
  for (NodeId id = 0; id < schedule.end(); ++id) {
    if (!is<ops::Concat>(schedule.node(id)) || schedule.node(id).output.rank() != 4) continue;
    std::int64_t first = 0;
    for (const NodeId part : schedule.node(id).inputs) {
      if (movable(part)) {
        schedule.at(part).part_of = id;
        schedule.at(part).first_channel = first;
      }
      first += channels(schedule.node(part));
    }
  }
}

}  // namespace brigade::network
