// Allreduce in 2 log2 N exchanges with one partner each, for messages too short for the 2(N-1) steps of a ring, and for
// sums whose order must not depend on how many ranks share the work.
//
//      exchange        rank 0         1         2         3        (N = 4; which quarters of the array a rank sums)
//      1 with r^1      sums 0 1 |  2 3  |  0 1  |  2 3     of ranks {0,1} and {2,3}
//      2 with r^2      sums 0   |  2    |  1    |  3       of ranks {0,1,2,3}
//      3 with r^2      gets 0 1 |  2 3  |  0 1  |  2 3     copies, backwards
//      4 with r^1      gets 0 1 2 3 everywhere
//
// In exchange k of the first log2 N (recursive halving) a rank keeps one half of the range it is responsible for, sends
// the other half to its partner and adds what the partner sends for its own; then the exchanges are run backwards
// (recursive doubling) and the finished parts copied. A rank sends 2K(N-1)/N floats, as in a ring. Rabenseifner,
// "Optimization of collective reduction operations", ICCS 2004. Up to kWholeFloats the partners exchange all they have
// instead, and after log2 N exchanges all are done (recursive doubling alone).
//
// Neighbours are summed first: the sum is the binary tree ((0+1) + (2+3)) + ..., the same bits on all ranks. 2, 4 or 8
// ranks whose arrays are themselves such sums over aligned groups of micro-batches give the tree over all
// micro-batches.
//
// If N is no power of two, the last N - P ranks (P the largest power of two below) first add their arrays to those of
// ranks 0, 1, ..., wait, and are given the result.
//
// An exchange runs in segments, so that adding one overlaps with receiving the next.
#include <mpi.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "allreduce_state.hpp"
#include "brigade/core/range.hpp"
#include "check_mpi.hpp"
#include "communicator_impl.hpp"
#include "pieces.hpp"
#include "wire.hpp"

namespace brigade::communication {
namespace {

constexpr std::size_t kInFlight = 4;  // segments on their way in each direction

using Range = brigade::Range<std::size_t>;  // of the array

// What a rank does with one partner: send a range, receive another and add or copy it.
struct Exchange {
  int partner;
  Range send, receive;
  bool add;
};

std::vector<Exchange> exchanges_of(int rank, int ranks, std::size_t floats) {
  const int power = static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks)));
  const Range all{0, floats}, nothing;
  std::vector<Exchange> list;
  if (rank >= power) {
    list.push_back({rank - power, all, nothing, false});
    list.push_back({rank - power, nothing, all, false});
    return list;
  }
  const bool guest = rank + power < ranks;
  if (guest) list.push_back({rank + power, nothing, all, true});
  if (floats <= kWholeFloats) {
    for (int bit = 1; bit < power; bit *= 2) list.push_back({rank ^ bit, all, all, true});
  } else {
    std::vector<Exchange> back;
    Range mine = all;
    for (int bit = 1; bit < power; bit *= 2) {
      const std::size_t middle = mine.begin + mine.size() / 2;
      Range keep{mine.begin, middle}, give{middle, mine.end};
      if ((rank & bit) != 0) std::swap(keep, give);
      list.push_back({rank ^ bit, give, keep, true});
      back.push_back({rank ^ bit, keep, give, false});
      mine = keep;
    }
    list.insert(list.end(), back.rbegin(), back.rend());
  }
  if (guest) list.push_back({rank + power, all, nothing, false});
  return list;
}

class HalvingDoubling final : public Allreduce::State {
 public:
  HalvingDoubling(Communicator::Impl& communicator, std::span<float> data, std::size_t segment_bytes, int tag);
  ~HalvingDoubling() override;

  bool advance() override {
    bool moved = false;
    while (!done() && (send_segment() | complete_send() | ask_for_segment() | take_segment() | next_exchange()))
      moved = true;  // not ||: try all
    return moved;
  }
  bool done() const override { return current_ == exchanges_.size(); }
  std::size_t bytes_sent() const override { return bytes_sent_; }

 private:
  const Exchange& exchange() const { return exchanges_[current_]; }
  std::size_t segments(const Range& range) const { return (range.size() + segment_ - 1) / segment_; }
  Range segment(const Range& range, std::size_t i) const {
    const std::size_t begin = range.begin + i * segment_;
    return {begin, std::min(begin + segment_, range.end)};
  }
  std::byte* staging(std::size_t i) {
    return staging_.as<std::byte>() + i % kInFlight * packed_bytes(Wire::fp32, segment_);
  }

  bool send_segment();
  bool complete_send();
  bool ask_for_segment();
  bool take_segment();
  bool next_exchange();

  float* data_;
  int tag_;
  std::size_t segment_;  // floats
  std::vector<Exchange> exchanges_;
  std::size_t current_ = 0;
  std::size_t sending_ = 0, sent_ = 0, asked_ = 0, taken_ = 0;  // segments of the current exchange
  std::size_t bytes_sent_ = 0;
  std::array<MPI_Request, kInFlight> sends_, receives_;
  Buffer staging_;
};

HalvingDoubling::HalvingDoubling(Communicator::Impl& communicator, std::span<float> data, std::size_t segment_bytes,
                                 int tag)
    : State(communicator),
      data_(data.data()),
      tag_(tag),
      segment_(std::clamp<std::size_t>(segment_bytes / sizeof(float), 1,
                                       std::clamp<std::size_t>(data.size(), 1, kMessageFloats))),
      exchanges_(exchanges_of(communicator.rank, communicator.size, data.size())) {
  sends_.fill(MPI_REQUEST_NULL);
  receives_.fill(MPI_REQUEST_NULL);
  staging_ = impl.segments.take(kInFlight * packed_bytes(Wire::fp32, segment_));
}

HalvingDoubling::~HalvingDoubling() { impl.close(receives_, sends_, std::move(staging_)); }

bool HalvingDoubling::send_segment() {
  if (done() || sending_ == segments(exchange().send) || sending_ - sent_ == kInFlight) return false;
  const Range s = segment(exchange().send, sending_);
  check_mpi(MPI_Isend(data_ + s.begin, static_cast<int>(s.size()), MPI_FLOAT, exchange().partner, tag_, impl.comm,
                      &sends_[sending_ % kInFlight]),
            "MPI_Isend");
  bytes_sent_ += s.size() * sizeof(float);
  ++sending_;
  return true;
}

bool HalvingDoubling::complete_send() {
  if (sent_ == sending_) return false;
  int complete = 0;
  check_mpi(MPI_Test(&sends_[sent_ % kInFlight], &complete, MPI_STATUS_IGNORE), "MPI_Test");
  sent_ += complete != 0 ? 1 : 0;
  return complete != 0;
}

bool HalvingDoubling::ask_for_segment() {
  if (done() || asked_ == segments(exchange().receive) || asked_ - taken_ == kInFlight) return false;
  const Range s = segment(exchange().receive, asked_);
  check_mpi(
      MPI_Irecv(exchange().add ? static_cast<void*>(staging(asked_)) : data_ + s.begin, static_cast<int>(s.size()),
                MPI_FLOAT, exchange().partner, tag_, impl.comm, &receives_[asked_ % kInFlight]),
      "MPI_Irecv");
  ++asked_;
  return true;
}

bool HalvingDoubling::take_segment() {
  if (taken_ == asked_) return false;
  const bool still_leaving = exchange().send.begin == exchange().receive.begin && exchange().send.size() > 0;
  if (still_leaving && sent_ <= taken_) return false;  // recursive doubling sends what it adds to
  int arrived = 0;
  check_mpi(MPI_Test(&receives_[taken_ % kInFlight], &arrived, MPI_STATUS_IGNORE), "MPI_Test");
  if (arrived == 0) return false;
  if (exchange().add) {
    const Range s = segment(exchange().receive, taken_);
    add_unpacked(Wire::fp32, staging(taken_), s.size(), data_ + s.begin);
  }
  ++taken_;
  return true;
}

bool HalvingDoubling::next_exchange() {
  if (sent_ < segments(exchange().send) || taken_ < segments(exchange().receive)) return false;
  sending_ = sent_ = asked_ = taken_ = 0;
  ++current_;
  return true;
}

}  // namespace

std::unique_ptr<Allreduce::State> start_halving_doubling(Communicator::Impl& impl, std::span<float> data,
                                                         std::size_t segment_bytes, int tag, Wire /*fp32*/) {
  return std::make_unique<HalvingDoubling>(impl, data, segment_bytes, tag);
}

}  // namespace brigade::communication
