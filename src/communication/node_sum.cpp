// Sums that use the memory a node's ranks share (node_window.hpp).
//
//   in place      all ranks are on one node, the arrays are in memory that all see, and long (in_place_sums.hpp)
//   node          all ranks are on one node: one pass through the window
//   hierarchical  1. reduce-scatter on each node: local rank r holds its node's sum of chunk r
//                 2. the ranks r of all nodes sum chunk r among themselves: all ranks of a node share its link to the
//                    others, each with 1/L of the bytes, and a link carries 2 K (M-1)/M floats for M nodes, whatever
//                    the number of ranks L on each
//                 3. all-gather on each node
//    Phases 1 and 3 have a window each, in which sums queue in the order of their start; phase 3 of a sum is held until
//    its phase 2 is done, so the order is the same on all ranks though phase 2 takes them different times.
#include <utility>
#include <vector>

#include "allreduce_state.hpp"
#include "communicator_impl.hpp"
#include "node_window.hpp"

namespace brigade::communication {
namespace {

// Up to here, copying through the window costs less than the second wait of a sum in place.
constexpr std::size_t kShortBytes = 16U << 10;

class InPlaceSum final : public Allreduce::State {
 public:
  InPlaceSum(Communicator::Impl& communicator, std::vector<float*> arrays, std::span<float> data)
      : State(communicator),
        sums_(communicator.in_place->sums),
        bytes_(data.size_bytes()),
        ticket_(sums_.start(std::move(arrays), data.size())) {}
  ~InPlaceSum() override {
    if (!done()) sums_.forget();
  }

  bool advance() override {
    const bool moved = sums_.advance();
    if (done()) bytes_sent = bytes_;
    return moved;
  }
  bool done() const override { return sums_.done(ticket_); }

 private:
  InPlaceSums& sums_;
  std::size_t bytes_;
  std::uint64_t ticket_;
};

class NodeSum final : public Allreduce::State {
 public:
  NodeSum(Communicator::Impl& communicator, std::span<float> data, std::size_t segment_bytes)
      : State(communicator),
        window_(communicator.scatter_window()),
        bytes_(data.size_bytes()),
        ticket_(window_.start(NodePattern::sum, data, segment_bytes)) {}
  ~NodeSum() override {
    if (!done()) window_.forget();
  }

  bool advance() override {
    const bool moved = window_.advance();
    if (done()) bytes_sent = bytes_;
    return moved;
  }
  bool done() const override { return window_.done(ticket_); }

 private:
  NodeWindow& window_;
  std::size_t bytes_;
  std::uint64_t ticket_;
};

class HierarchicalSum final : public Allreduce::State {
 public:
  HierarchicalSum(Communicator::Impl& communicator, std::span<float> data, std::size_t segment_bytes,
                  StartSum start_between)
      : State(communicator),
        scatter_(communicator.scatter_window()),
        gather_(communicator.gather_window()),
        segment_bytes_(segment_bytes),
        start_between_(start_between),
        scattered_(scatter_.start(NodePattern::reduce_scatter, data, segment_bytes)),
        gathered_(gather_.start(NodePattern::all_gather, data, segment_bytes, true)) {
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
      between_ = start_between_(impl.peers(), chunk_, segment_bytes_, peers_tag_);
      moved = true;
    }
    if (between_ && !released_) {
      moved |= between_->advance();
      bytes_sent = between_->bytes_sent;
      if (between_->done()) {
        gather_.release(gathered_);
        released_ = moved = true;
        gather_.advance();
      }
    }
    return moved;
  }
  bool done() const override { return released_ && gather_.done(gathered_); }

 private:
  NodeWindow &scatter_, &gather_;
  std::size_t segment_bytes_;
  StartSum start_between_;
  std::uint64_t scattered_, gathered_;
  std::span<float> chunk_;
  int peers_tag_ = 0;
  std::unique_ptr<State> between_;
  bool released_ = false;
};

}  // namespace

std::unique_ptr<Allreduce::State> start_node_sum(Communicator::Impl& impl, std::span<float> data,
                                                 std::size_t segment_bytes) {
  if (impl.in_place && data.size_bytes() > kShortBytes) {
    std::vector<float*> arrays = impl.in_place->memory.everyones(data);
    if (!arrays.empty()) return std::make_unique<InPlaceSum>(impl, std::move(arrays), data);
  }
  return std::make_unique<NodeSum>(impl, data, segment_bytes);
}

std::unique_ptr<Allreduce::State> start_hierarchical(Communicator::Impl& impl, std::span<float> data,
                                                     std::size_t segment_bytes, StartSum start_between) {
  return std::make_unique<HierarchicalSum>(impl, data, segment_bytes, start_between);
}

}  // namespace brigade::communication
