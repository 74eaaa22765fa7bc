// Training: a value that backward wants again need not wait for it in memory if it is cheap to compute twice, from
// tensors that wait there anyway. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016; here nothing is
// recomputed that has a product in it.
//
//   batch norm   from its input, which its own backward keeps, one reading and one writing
//   sum          from its summands, if each is kept anyway: a batch norm normalised on read, or a value that backward
//                wants for itself. Of a chain of residual blocks every second sum is computed again
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

class Recomputation {
 public:
  explicit Recomputation(Schedule& schedule) : schedule_(schedule), readers_(readers_of(schedule.graph)) {}

  bool worthwhile(NodeId id) const {
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
             return schedule_.at(input).normalised_on_read || (waits(input) && !schedule_.at(input).recomputed);
           });
  }

 private:
  const std::vector<NodeId>& readers(NodeId id) const { return readers_[static_cast<std::size_t>(id)]; }
  // Some reader wants it in backward.
  bool waits(NodeId id) const {
    return std::ranges::any_of(readers(id), [&](NodeId by) { return backward_reads_input(schedule_.node(by)); });
  }

  Schedule& schedule_;
  std::vector<std::vector<NodeId>> readers_;
};

}  // namespace

void recompute(Schedule& schedule) {
  const Recomputation recomputation(schedule);
  for (NodeId id = 0; id < schedule.end(); ++id) schedule.at(id).recomputed = recomputation.worthwhile(id);
}

}  // namespace brigade::network
