// Ring allreduce.
//
//        0 ──► 1          N ranks stand in a ring; each sends to its right neighbour and receives from
//        ▲     │          its left one, so every link carries the same load in the same direction.
//        │     ▼          The K floats are cut into N chunks (the first K mod N are one longer).
//        3 ◄── 2
//
// At time t = 0, 1, ..., 2N-3 rank r sends chunk r - t and receives chunk r - t - 1 (mod N). For N = 4, the
// chunk each rank sends, `*` for a chunk that already holds the whole sum:
//
//      t   rank 0   1    2    3
//      0        0   1    2    3     reduce-scatter: what arrives is added to what is here.
//      1        3   0    1    2     After N-1 steps rank r holds the sum of chunk r + 1.
//      2        2   3    0    1
//      3        1*  2*   3*   0*    all-gather: what arrives replaces what is here.
//      4        0*  1*   2*   3*
//      5        3*  0*   1*   2*
//
// 2(N-1) steps, in each of which a rank sends K/N floats: 2K(N-1)/N in all, which no algorithm can undercut
// (Patarasuk & Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 69, 2009;
// brought to deep learning by Gibiansky, "Bringing HPC techniques to deep learning", Baidu 2017). A chunk is
// summed along the ring by one rank after the other and only then copied, so all ranks end with the same bits.
//
// A chunk travels in segments. The chunk received at time t is the one sent at t + 1, so both neighbours see
// one stream of segments: first my own chunk, then whatever I have received, in that order. Hence segment i
// may leave once `i - (segments of my own chunk)` have been taken in, and while one segment is being added
// the next ones arrive in other staging buffers: the links never wait for the end of a chunk.
//
// Segments may travel in bf16 or fp16 (wire.hpp): each is packed into a buffer of its own before it is sent, and
// unpacked when it is taken in. The rank that has summed a chunk keeps what it sends, rounded, so that all ranks hold
// the same bits.
//
// In fp32 the all-gather receives in place. Its k-th segment lands where the k-th segment of all was sent from, so it
// is asked for only after that send is complete.
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "allreduce_state.hpp"
#include "brigade/core/range.hpp"
#include "check_mpi.hpp"
#include "communicator_impl.hpp"
#include "pieces.hpp"
#include "wire.hpp"

namespace brigade::communication {
namespace {

constexpr std::size_t kInFlight = 4;  // segments on their way in each direction

// How K floats are cut into N chunks, and chunks into segments.
struct Cut {
  std::size_t floats, ranks, segment;

  std::size_t begin(std::size_t chunk) const { return even_part(floats, chunk, ranks).begin; }
  std::size_t size(std::size_t chunk) const { return even_part(floats, chunk, ranks).size(); }
  std::size_t segments(std::size_t chunk) const { return (size(chunk) + segment - 1) / segment; }
};

// The segments of chunks c, c - 1, c - 2, ... (mod N), one after the other.
class Walk {
 public:
  Walk(const Cut& cut, std::size_t chunk) : cut_(cut), chunk_(chunk), left_(cut.size(chunk)) { skip_empty_chunks(); }

  std::size_t offset() const { return cut_.begin(chunk_) + cut_.size(chunk_) - left_; }
  std::size_t count() const { return std::min(left_, cut_.segment); }
  void next() {
    left_ -= count();
    skip_empty_chunks();
  }

 private:
  void skip_empty_chunks() {
    while (left_ == 0 && cut_.floats > 0) {
      chunk_ = (chunk_ + cut_.ranks - 1) % cut_.ranks;
      left_ = cut_.size(chunk_);
    }
  }

  Cut cut_;
  std::size_t chunk_, left_;
};

class Ring final : public Allreduce::State {
 public:
  Ring(Communicator::Impl& communicator, std::span<float> data, std::size_t segment_bytes, int tag, Wire wire);
  ~Ring() override;

  bool advance() override {
    bool moved = false;
    while (ask_for_segment() | take_segment() | send_segment() | complete_send()) moved = true;  // not ||: try all
    return moved;
  }
  bool done() const override { return taken_ == to_receive_ && sent_ == to_send_; }
  std::size_t bytes_sent() const override { return bytes_sent_; }

 private:
  bool ask_for_segment();
  bool take_segment();
  bool send_segment();
  bool complete_send();

  // Of a received segment; where segments are packed a second ring of buffers holds those on their way out.
  std::byte* staging(std::size_t segment, std::size_t ring = 0) {
    return staging_.as<std::byte>() + (ring * kInFlight + segment % kInFlight) * stride_;
  }
  int bytes_of(const Walk& walk) const { return static_cast<int>(packed_bytes(wire_, walk.count())); }
  const void* outgoing();

  float* data_;
  int left_, right_, tag_;
  const Wire wire_;
  const bool packed_ = wire_ != Wire::fp32;
  Cut cut_;
  Walk asking_, taking_, sending_;

  std::size_t to_add_, to_receive_, to_send_;  // segments: received and added; received at all; sent
  std::size_t to_send_partial_;                // sent before the all-gather
  std::size_t own_;                            // segments of my own chunk, which wait for nobody
  std::size_t asked_ = 0, taken_ = 0, sending_count_ = 0, sent_ = 0;

  std::size_t bytes_sent_ = 0;
  std::array<MPI_Request, kInFlight> receives_, sends_;
  Buffer staging_;
  std::size_t stride_ = 0;  // bytes of a staging buffer
};

Ring::Ring(Communicator::Impl& communicator, std::span<float> data, std::size_t segment_bytes, int tag, Wire wire)
    : State(communicator),
      data_(data.data()),
      left_((impl.rank + impl.size - 1) % impl.size),
      right_((impl.rank + 1) % impl.size),
      tag_(tag),
      wire_(wire),
      cut_{.floats = data.size(),
           .ranks = static_cast<std::size_t>(impl.size),
           .segment = std::min<std::size_t>(floats_in(wire, segment_bytes), kMessageFloats)},
      asking_(cut_, static_cast<std::size_t>(left_)),
      taking_(asking_),
      sending_(cut_, static_cast<std::size_t>(impl.rank)) {
  std::size_t all = 0;
  for (std::size_t chunk = 0; chunk < cut_.ranks; ++chunk) all += cut_.segments(chunk);
  const auto rank = static_cast<std::size_t>(impl.rank);
  own_ = cut_.segments(rank);
  to_add_ = all - own_;                                                        // every chunk but mine, once
  to_receive_ = to_add_ + all - cut_.segments((rank + 1) % cut_.ranks);        // then every chunk but the one I summed
  to_send_partial_ = all - cut_.segments((rank + 1) % cut_.ranks);             // t < N-1: every chunk but that one
  to_send_ = to_send_partial_ + all - cut_.segments((rank + 2) % cut_.ranks);  // then every chunk but my neighbour's
  receives_.fill(MPI_REQUEST_NULL);
  sends_.fill(MPI_REQUEST_NULL);
  if (to_add_ > 0 || (packed_ && cut_.floats > 0)) {
    constexpr std::size_t kLine = 64;  // staging buffers begin on cache lines
    stride_ = (packed_bytes(wire_, std::min(cut_.segment, cut_.size(0))) + kLine - 1) / kLine * kLine;
    staging_ = impl.segments.take((packed_ ? 2 : 1) * kInFlight * stride_);
  }
}

Ring::~Ring() { impl.close(receives_, sends_, std::move(staging_)); }

bool Ring::ask_for_segment() {
  if (asked_ == to_receive_ || asked_ - taken_ == kInFlight) return false;
  const bool in_place = asked_ >= to_add_ && !packed_;
  if (in_place && sent_ <= asked_ - to_add_) return false;  // what lies there is still on its way out
  void* target = in_place ? static_cast<void*>(data_ + asking_.offset()) : staging(asked_);
  check_mpi(MPI_Irecv(target, bytes_of(asking_), MPI_BYTE, left_, tag_, impl.comm, &receives_[asked_ % kInFlight]),
            "MPI_Irecv");
  asking_.next();
  ++asked_;
  return true;
}

bool Ring::take_segment() {
  if (taken_ == asked_) return false;
  if (packed_ && taken_ >= to_add_ && sending_count_ <= taken_ - to_add_) return false;  // not yet sent from there
  int arrived = 0;
  check_mpi(MPI_Test(&receives_[taken_ % kInFlight], &arrived, MPI_STATUS_IGNORE), "MPI_Test");
  if (arrived == 0) return false;
  float* const here = data_ + taking_.offset();
  if (taken_ < to_add_)
    add_unpacked(wire_, staging(taken_), taking_.count(), here);
  else if (packed_)
    unpack(wire_, staging(taken_), taking_.count(), here);
  taking_.next();
  ++taken_;
  return true;
}

// The next segment as it is sent.
const void* Ring::outgoing() {
  float* const here = data_ + sending_.offset();
  if (!packed_) return here;
  std::byte* const message = staging(sending_count_, 1);
  pack(wire_, here, sending_.count(), message);
  if (sending_count_ >= to_send_partial_) unpack(wire_, message, sending_.count(), here);
  return message;
}

bool Ring::send_segment() {
  if (sending_count_ == to_send_ || sending_count_ - sent_ == kInFlight) return false;
  if (sending_count_ >= own_ + taken_) return false;  // not here yet
  const int bytes = bytes_of(sending_);
  check_mpi(MPI_Isend(outgoing(), bytes, MPI_BYTE, right_, tag_, impl.comm, &sends_[sending_count_ % kInFlight]),
            "MPI_Isend");
  bytes_sent_ += static_cast<std::size_t>(bytes);
  sending_.next();
  ++sending_count_;
  return true;
}

bool Ring::complete_send() {
  if (sent_ == sending_count_) return false;
  int complete = 0;
  check_mpi(MPI_Test(&sends_[sent_ % kInFlight], &complete, MPI_STATUS_IGNORE), "MPI_Test");
  if (complete == 0) return false;
  ++sent_;
  return true;
}

}  // namespace

std::unique_ptr<Allreduce::State> start_ring(Communicator::Impl& impl, std::span<float> data, std::size_t segment_bytes,
                                             int tag, Wire wire) {
  return std::make_unique<Ring>(impl, data, segment_bytes, tag, wire);
}

}  // namespace brigade::communication
