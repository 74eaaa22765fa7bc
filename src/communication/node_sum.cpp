// Sums that use the memory a node's ranks share (node_window.hpp).
//
//   in place      all ranks are on one node, the arrays are in memory that all see, and long (in_place_sums.hpp)
//   node          all ranks are on one node: one pass through the window
//   hierarchical  1. reduce-scatter on each node: local rank r holds its node's sum of chunk r
//                 2. the ranks r of all nodes sum chunk r among themselves: all ranks of a node share its link to the
//                    others, each with 1/L of the bytes, and a link carries 2 K (M-1)/M floats for M nodes, whatever
//                    the number of ranks L on each
//                 3. all-gather on each node
//    Phases 1 and 3 happen in place (in_place_slices.hpp), or, of arrays that only one rank sees and of short ones,
//    have a window each, in which sums queue in the order of their start; phase 3 of a sum is held until its phase 2 is
//    done, so the order is the same on all ranks though phase 2 takes them different times.
#include <utility>
#include <vector>

#include "allreduce_state.hpp"
#include "communicator_impl.hpp"
#include "node_window.hpp"

namespace brigade::communication {
namespace {

// Up to here, copying through the window costs less than the second wait of a sum in place.
constexpr std::size_t kWindowBytes = 16U << 10;

// A sum that waits for its turn among those of the node: in a NodeWindow, or in place.
template <class Queue>
class QueuedSum final : public Allreduce::State {
 public:
  QueuedSum(Communicator::Impl& communicator, Queue& queue, std::uint64_t ticket, std::size_t bytes)
      : State(communicator), queue_(queue), ticket_(ticket), bytes_(bytes) {}
  ~QueuedSum() override {
    if (!done()) queue_.forget();
  }

  bool advance() override { return queue_.advance(); }
  bool done() const override { return queue_.done(ticket_); }
  std::size_t bytes_sent() const override { return done() ? bytes_ : 0; }

 private:
  Queue& queue_;
  std::uint64_t ticket_;
  std::size_t bytes_;
};

class HierarchicalSum final : public Allreduce::State {
 public:
  HierarchicalSum(Communicator::Impl& communicator, std::span<float> data, const ByMessages& by_messages)
      : State(communicator),
        scatter_(communicator.scatter_window()),
        gather_(communicator.gather_window()),
        by_messages_(by_messages),
        scattered_(scatter_.start(NodePattern::reduce_scatter, data, by_messages.segment_bytes)),
        gathered_(gather_.start(NodePattern::all_gather, data, by_messages.segment_bytes, true)) {
    const auto [begin, end] = scatter_.chunk(data.size(), impl.node_rank);
    chunk_ = data.subspan(begin, end - begin);
    peers_tag_ = impl.peers().next_tag();
  }
  ~HierarchicalSum() override {
    if (done()) return;
    scatter_.forget();
    gather_.forget();
  }

  bool advance() override {
    bool moved = scatter_.advance() | gather_.advance();
    if (!between_ && scatter_.done(scattered_)) {
      between_ = by_messages_.start(impl.peers(), chunk_, peers_tag_);
      moved = true;
    }
    if (between_ && !released_) {
      moved |= between_->advance();
      if (between_->done()) {
        gather_.release(gathered_);
        released_ = moved = true;
        gather_.advance();
      }
    }
    return moved;
  }
  bool done() const override { return released_ && gather_.done(gathered_); }
  std::size_t bytes_sent() const override { return between_ ? between_->bytes_sent() : 0; }

 private:
  NodeWindow &scatter_, &gather_;
  ByMessages by_messages_;
  std::uint64_t scattered_, gathered_;
  std::span<float> chunk_;
  int peers_tag_ = 0;
  std::unique_ptr<State> between_;
  bool released_ = false;
};

// Phases 1 and 3 in place.
class HierarchicalInPlace final : public Allreduce::State {
 public:
  HierarchicalInPlace(Communicator::Impl& communicator, std::vector<float*> arrays, std::span<float> data,
                      const ByMessages& by_messages)
      : State(communicator),
        slices_(*communicator.in_place->slices),
        arrays_(std::move(arrays)),
        chunk_(communicator.scatter_window().chunk(data.size(), communicator.node_rank)),
        mine_(data.subspan(chunk_.begin, chunk_.size())),
        by_messages_(by_messages),
        peers_tag_(communicator.peers().next_tag()),
        ticket_(slices_.start()) {}

  bool advance() override {
    bool moved = false;
    if (!between_ && slices_.everyone_is_ready(ticket_)) {
      slices_.reduce(arrays_, chunk_.begin, chunk_.end);
      between_ = by_messages_.start(impl.peers(), mine_, peers_tag_);
      moved = true;
    }
    if (between_ && !delivered_) {
      moved |= between_->advance();
      delivered_ = between_->done() && slices_.deliver(ticket_, arrays_, chunk_.begin, chunk_.end);
      moved |= delivered_;
    }
    return moved;
  }
  bool done() const override { return delivered_ && slices_.done(ticket_); }
  std::size_t bytes_sent() const override { return between_ ? between_->bytes_sent() : 0; }

 private:
  InPlaceSlices& slices_;
  std::vector<float*> arrays_;  // by local rank
  Range<std::size_t> chunk_;
  std::span<float> mine_;  // chunk of my array
  ByMessages by_messages_;
  int peers_tag_;
  std::uint64_t ticket_;
  std::unique_ptr<State> between_;
  bool delivered_ = false;
};

// The arrays of all ranks of the node, if the sum shall happen in place; else none.
std::vector<float*> arrays_in_place(const Communicator::Impl& impl, std::span<float> data) {
  if (!impl.in_place || data.size_bytes() <= kWindowBytes) return {};
  return impl.in_place->memory.everyones(data);
}

}  // namespace

std::unique_ptr<Allreduce::State> start_node_sum(Communicator::Impl& impl, std::span<float> data,
                                                 std::size_t segment_bytes) {
  if (std::vector<float*> arrays = arrays_in_place(impl, data); !arrays.empty()) {
    InPlaceSums& sums = *impl.in_place->sums;
    return std::make_unique<QueuedSum<InPlaceSums>>(impl, sums, sums.start(std::move(arrays), data.size()),
                                                    data.size_bytes());
  }
  NodeWindow& window = impl.scatter_window();
  return std::make_unique<QueuedSum<NodeWindow>>(impl, window, window.start(NodePattern::sum, data, segment_bytes),
                                                 data.size_bytes());
}

std::unique_ptr<Allreduce::State> start_hierarchical(Communicator::Impl& impl, std::span<float> data,
                                                     const ByMessages& between) {
  if (std::vector<float*> arrays = arrays_in_place(impl, data); !arrays.empty())
    return std::make_unique<HierarchicalInPlace>(impl, std::move(arrays), data, between);
  return std::make_unique<HierarchicalSum>(impl, data, between);
}

}  // namespace brigade::communication
