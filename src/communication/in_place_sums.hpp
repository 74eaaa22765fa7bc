// Sums of arrays that lie in memory all ranks of a node see (node_memory.hpp): nothing is copied.
//
//     rank 0's array  [ ... | 3 | 2 | 1 | 0 ] ─┐             ┌─►  [ ... | 0 ]
//     rank 1's array  [ ... | 3 | 2 | 1 | 0 ] ─┼─ segment 0 ─┼─►  [ ... | 0 ]   by whichever rank claims it
//     rank 2's array  [ ... | 3 | 2 | 1 | 0 ] ─┘             └─►  [ ... | 0 ]
//
// Once all ranks have said that their arrays are ready, whoever has time claims the next segments, adds them up and
// writes the sums into all arrays. Each float is read once and written once, the least there is: sums take little
// longer than reading the arrays. A rank that still computes costs the others nothing, for they do its share of the
// adding; and the bits do not depend on who did it (tree_sum.hpp).
//
// Segments are numbered through all sums ever started, in each from the arrays' end: that took 0 to 8 % less time than
// from the beginning, for arrays written in backward's order (16 MiB, 2 and 4 ranks). What the ranks tell each other:
//
//     next      the segment to be claimed next, by compare-and-swap (rank 0's is the one in use)
//     ready     of a rank: its arrays of all segments below may be read and written
//     working   of a rank: the first of the segments it adds up now, stored *before* it tries to claim them; or kNone
//
// Nobody claims segments of two sums at once. So a sum is done when `next` lies beyond it and nobody is working on a
// segment of it: who sees `next` beyond a segment sees that its owner is (or was) working on it. Nobody waits in here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <vector>

#include "shared_memory.hpp"

namespace brigade::communication {

struct World;

class InPlaceSums {
 public:
  /// Collective over the ranks of `node` (2 or more), which share memory.
  InPlaceSums(MPI_Comm node, const World& world);
  /// False, on all ranks of the node, if there is not enough shared memory: unusable then.
  explicit operator bool() const { return static_cast<bool>(memory_); }

  /// Sums `arrays` (by rank, one's own among them), left in all of them; returns a ticket. All ranks of the node start
  /// the same sums in the same order.
  std::uint64_t start(std::vector<float*> arrays, std::size_t floats);
  /// Adds up what can be, without waiting; true if anything was done.
  bool advance();
  bool done(std::uint64_t ticket) const;
  /// Nobody waits for the sums any more, and their arrays may be gone.
  void forget() { jobs_.clear(), broken_ = true; }

 private:
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

  struct Counters {
    alignas(64) std::atomic<std::uint64_t> next;
    alignas(64) std::atomic<std::uint64_t> ready;
    alignas(64) std::atomic<std::uint64_t> working;
  };
  struct Job {
    std::vector<float*> arrays;
    std::size_t floats;
    std::uint64_t end;  // of its segments among all
  };
  struct Claim {
    const Job* job = nullptr;  // null: there is nothing to do now
    std::uint64_t first = 0, last = 0;
  };

  Claim claim();
  void add_up(const Claim& claimed);
  Counters& own() const { return memory_.notes<Counters>(rank_); }

  const World& world_;   // for its threads
  SharedMemory memory_;  // counters of each rank
  int rank_ = 0, size_ = 1;
  std::deque<Job> jobs_;
  std::uint64_t started_ = 0;  // segments of all sums so far
  bool broken_ = false;
};

}  // namespace brigade::communication
