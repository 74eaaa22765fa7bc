// Training: a value that backward wants again need not wait for it in memory if it is cheap to compute twice, from
// tensors that wait there anyway. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016; here nothing is
// recomputed that has a product in it.
//
//   batch norm   from its input, which its own backward keeps, one reading and one writing
//   sum          from its summands, if each is there in backward anyway: a batch norm normalised on read, or a value
//                that backward wants for itself, kept or computed again before. Of a chain of residual blocks sums are
//                computed again from one that is kept, the first of them first, and are there together: a long chain
//                is cut
//
// Each costs time, so that is done only where it brings something. A plan that needs no more than a third of the bytes
// of all values is small enough (a framework that stores each value has most of them at once), and so is, for want of a
// smaller one, the smallest there is. Of the plans that compute the first so many of these values again, cutting chains
// after so many sums, the one that writes the fewest bytes twice and is small enough is taken: early values are the
// large ones and wait longest.
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

constexpr int kLongestChain = 6;  // in the networks of the zoo longer ones save nothing more

// Of the first `count` values all but the sum that follows on each `chain` sums.
void recompute_first(Schedule& schedule, std::span<const NodeId> values, std::size_t count, int chain) {
  std::vector<int> length(schedule.nodes.size(), 0);  // of the chain of recomputed sums that ends there
  for (std::size_t i = 0; i < values.size(); ++i) {
    const NodeId id = values[i];
    int& own = length[static_cast<std::size_t>(id)];
    if (is<ops::Add>(schedule.node(id)))
      for (const NodeId input : schedule.node(id).inputs)
        own = std::max(own, length[static_cast<std::size_t>(input)] + 1);
    schedule.at(id).recomputed = i < count && own <= chain;
    if (!schedule.at(id).recomputed) own = 0;
  }
}

// Of one image, the values of the nodes that are `counted`.
template <class Counted>
std::int64_t bytes_of(const Schedule& schedule, const Counted& counted) {
  std::int64_t bytes = 0;
  for (NodeId id = 0; id < schedule.end(); ++id)
    if (counted(id))
      bytes += schedule.node(id).output.size() * static_cast<std::int64_t>(size_of(schedule.at(id).type));
  return bytes;
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
  return batch * bytes_of(schedule, [](NodeId) { return true; }) / 3;
}

void recompute(Schedule& schedule) {
  struct Choice {
    std::size_t count;
    int chain;
    std::int64_t peak, written;
  };
  const std::vector<NodeId> values = recomputable(schedule);
  const bool chains = std::ranges::any_of(values, [&](NodeId id) { return is<ops::Add>(schedule.node(id)); });
  const std::int64_t enough = enough_bytes(schedule, kPlannedBatch);
  std::vector<Choice> choices;
  for (int chain = 1; chain <= (chains ? kLongestChain : 1); ++chain)
    for (std::size_t count = 0; count <= values.size(); ++count) {
      recompute_first(schedule, values, count, chain);
      const std::int64_t written = bytes_of(schedule, [&](NodeId id) { return schedule.at(id).recomputed; });
      choices.push_back({count, chain, peak_bytes(schedule, kPlannedBatch), written});
      if (choices.back().peak <= enough) break;  // more would only cost more
    }
  const std::int64_t smallest = std::ranges::min(choices, {}, &Choice::peak).peak;
  std::erase_if(choices, [&](const Choice& c) { return c.peak > std::max(enough, smallest); });
  const Choice best = std::ranges::min(choices, {}, &Choice::written);
  recompute_first(schedule, values, best.count, best.chain);
}

}  // namespace brigade::network
