// Training: a value that backward wants again need not wait for it in memory if it is cheap to compute twice, from
// tensors that wait there anyway. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016; here nothing is
// recomputed that has a product in it.
//
//   batch norm   from its input, which its own backward keeps, one reading and one writing
//   sum          from its summands, if each is there in backward anyway: a batch norm normalised on read, or a value that
//                backward wants for itself, kept or computed again before. Of a chain of residual blocks all sums are
//                computed again, the first of them first
//
// Each costs time, so that is done only where it brings something. A plan that needs no more than a third of the bytes
// of all values is small enough (a framework that stores each value has most of them at once), and so is, for want of a
// smaller one, the plan that computes everything again. Of the plans that compute the first so many of these values
// again, the one with the fewest that is small enough is taken: early values are the large ones and wait longest.
#include <algorithm>
#include <span>

#include "memory_plan.hpp"
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

constexpr std::int64_t kPlannedBatch = 1;  // what lives when, and so what is worth it, is the same for any other

class Recomputation {
 public:
  explicit Recomputation(const Schedule& schedule) : schedule_(schedule), readers_(readers_of(schedule.graph)) {}

  bool possible(NodeId id) const {
    const Node& node = schedule_.node(id);
    if (schedule_.at(id).normalised_on_read || schedule_.at(id).part_of >= 0 || !waits(id)) return false;
    // Its readers read it where it is, and nobody computes in place over it.
    const bool plain_readers = std::ranges::all_of(readers(id), [&](NodeId reader) {
      const Node& by = schedule_.node(reader);
      return is_product(by) || is<ops::Add>(by) || is<ops::MaxPool>(by) || is<ops::AveragePool>(by) ||
             is<ops::GlobalAveragePool>(by);
    });
    if (!plain_readers) return false;
    if (is<ops::BatchNorm>(node)) return true;
    return is<ops::Add>(node) && std::ranges::all_of(node.inputs, [&](NodeId input) {
             return schedule_.at(input).normalised_on_read || waits(input);
           });
  }

 private:
  const std::vector<NodeId>& readers(NodeId id) const { return readers_[static_cast<std::size_t>(id)]; }
  // Some reader wants it in backward.
  bool waits(NodeId id) const {
    return std::ranges::any_of(readers(id), [&](NodeId by) { return backward_reads_input(schedule_.node(by)); });
  }

  const Schedule& schedule_;
  std::vector<std::vector<NodeId>> readers_;
};

// Of the first `count` alone.
void recompute_first(Schedule& schedule, std::span<const NodeId> values, std::size_t count) {
  for (std::size_t i = 0; i < values.size(); ++i) schedule.at(values[i]).recomputed = i < count;
}

}  // namespace

std::vector<NodeId> recomputable(const Schedule& schedule) {
  const Recomputation recomputation(schedule);
  std::vector<NodeId> values;
  for (NodeId id = 0; id < schedule.end(); ++id)
    if (recomputation.possible(id)) values.push_back(id);
  return values;
}

std::int64_t enough_bytes(const Schedule& schedule, std::int64_t batch) {
  std::int64_t bytes = 0;  // of one image
  for (NodeId id = 0; id < schedule.end(); ++id)
    bytes += schedule.node(id).output.size() * static_cast<std::int64_t>(size_of(schedule.at(id).type));
  return batch * bytes / 3;
}

void recompute(Schedule& schedule) {
  const std::vector<NodeId> values = recomputable(schedule);
  const auto peak = [&](std::size_t count) {
    recompute_first(schedule, values, count);
    return peak_bytes(schedule, kPlannedBatch);
  };
  std::size_t fewest = 0, enough = values.size();
  const std::int64_t bound = std::max(enough_bytes(schedule, kPlannedBatch), peak(enough));
  while (fewest < enough) {
    const std::size_t middle = fewest + (enough - fewest) / 2;
    if (peak(middle) <= bound)
      enough = middle;
    else
      fewest = middle + 1;
  }
  recompute_first(schedule, values, enough);
}

}  // namespace brigade::network
