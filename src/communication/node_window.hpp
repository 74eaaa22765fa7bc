// Collectives among the ranks of one node, through memory they share.
//
//     rank 0   data ──copy──► slot 0 ─┐         ┌─► data
//     rank 1   data ──copy──► slot 1 ─┼── sum ──┼─► data
//     rank 2   data ──copy──► slot 2 ─┘         └─► data
//
// The arrays pass through the window in segments that fit into the second-level cache, so that main memory sees each
// array once in and once out, whatever the number of ranks L; everything between happens in caches. Each rank has
// kSlots slots; segment g of all collectives ever started lies in slot g mod kSlots, and three counters a rank say how
// far it is:
//
//     copied    segments of mine that lie in my slots: peers may read them
//     reduced   segments of which I have summed my slice: peers may read it from my slot
//     taken     segments I have read to the end: their slots may be filled anew once all ranks say so
//
// A counter is written by its rank alone (release) and read by the others (acquire); nobody waits in here.
//
//   sum             Two ranks, or short segments, sum all of it themselves, right into their data (one wait). More
//                   ranks sum a slice each and then copy the slices of the others: a rank reads 2 (L-1)/L of a segment
//                   from its peers instead of L-1, at the price of a second wait.
//   reduce_scatter  Rank r ends with the sum of chunk r of the array (the rest of its data is left as it was).
//   all_gather      Rank r gives chunk r of the array and ends with all.
//
// Sums are binary trees over the ranks (tree_sum.hpp), so all ranks get the same bits.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "brigade/core/range.hpp"
#include "shared_memory.hpp"

namespace brigade::communication {

enum class NodePattern : std::uint8_t { sum, reduce_scatter, all_gather };

class NodeWindow {
 public:
  /// Collective over the ranks of `node` (2 or more), which share memory.
  explicit NodeWindow(MPI_Comm node);
  /// False, on all ranks of the node, if there is not enough shared memory: unusable then.
  explicit operator bool() const { return static_cast<bool>(memory_); }

  /// Appends a collective, on hold until release(its ticket) if `held`; returns its ticket. All ranks of the node start
  /// the same ones in the same order.
  std::uint64_t start(NodePattern pattern, std::span<float> data, std::size_t segment_bytes, bool held = false);
  void release(std::uint64_t ticket);
  /// Moves the collectives on, oldest first, without waiting; true if anything was done.
  bool advance();
  bool done(std::uint64_t ticket) const { return taken_ >= ticket; }
  /// Nobody waits for them any more, and their data may be gone.
  void forget() { jobs_.clear(), broken_ = true; }

  /// Chunk `rank` of an array. Chunks begin at cache lines of it.
  Range<std::size_t> chunk(std::size_t floats, int rank) const;

 private:
  static constexpr std::size_t kSlots = 4;
  static constexpr std::size_t kSlotFloats = 64 << 10;
  static constexpr std::size_t kDirectFloats = 4 << 10;  // up to so many, each rank sums all of a segment

  struct Counters {
    alignas(64) std::atomic<std::uint64_t> copied, reduced, taken;
  };
  struct Job {
    NodePattern pattern;
    std::span<float> data;
    std::size_t piece;         // floats of a segment (sum), of a segment's part of one chunk (the others)
    std::uint64_t first, end;  // its segments among all
    bool held;
  };
  // What rank `of` contributes to a segment or owns of it: a range of the data and where it lies in a slot.
  struct Piece {
    Range<std::size_t> range;
    std::size_t in_slot;
  };

  bool copy_in();
  bool reduce();
  bool take_out();
  void sum_piece(const Piece& piece, std::uint64_t segment, float* data);

  const Job& job(std::uint64_t segment) const;
  Piece piece(const Job& job, std::uint64_t segment, int of) const;
  bool direct(const Job& job, std::uint64_t segment) const;
  float* slot(int rank, std::uint64_t segment) const;
  Counters& own() const { return memory_.notes<Counters>(rank_); }

  SharedMemory memory_;  // a rank's part: counters, then slots
  int rank_ = 0, size_ = 1;
  std::deque<Job> jobs_;
  std::uint64_t started_ = 0;                           // segments of all collectives so far
  std::uint64_t copied_ = 0, reduced_ = 0, taken_ = 0;  // my counters
  std::vector<const float*> terms_;                     // of a sum, by rank
  bool broken_ = false;
};

}  // namespace brigade::communication
