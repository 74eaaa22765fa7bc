// Sums over several nodes of arrays that lie in memory all ranks of a node see (node_memory.hpp): nothing is copied on
// the node but the result.
//
//     rank 0's array  [ chunk 0 | chunk 1 ]      1. rank r adds chunk r of its node's arrays into its own
//     rank 1's array  [ chunk 0 | chunk 1 ]      2. the ranks r of all nodes sum chunk r, straight from their arrays
//                                                3. rank r writes the sum into chunk r of its node's other arrays
//
// What the ranks of a node tell each other, each a count of sums, in the order of their start:
//
//     ready       my arrays of so many sums may be read
//     delivered   so many of my chunks lie in all arrays; nobody's array is read or written on my behalf any more
//
// Chunk r of everyone's array is touched by rank r alone until it is delivered, so there is nothing else to agree on.
// Nobody waits in here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shared_memory.hpp"

namespace brigade::communication {

struct World;

class InPlaceSlices {
 public:
  /// Collective over the ranks of `node` (2 or more), which share memory.
  InPlaceSlices(MPI_Comm node, const World& world);
  /// False, on all ranks of the node, if there is not enough shared memory: unusable then.
  explicit operator bool() const { return static_cast<bool>(memory_); }

  /// My array may be read from now on. Returns a ticket; all ranks of the node start the same sums in the same order.
  std::uint64_t start();
  bool everyone_is_ready(std::uint64_t ticket) const;
  /// Floats [begin, end) of the arrays (by rank), added as tree_sum.hpp does, into my own. Once everyone is ready.
  void reduce(const std::vector<float*>& arrays, std::size_t begin, std::size_t end);
  /// Copies them from my array into the others, if all sums started before have been delivered; else false.
  bool deliver(std::uint64_t ticket, const std::vector<float*>& arrays, std::size_t begin, std::size_t end);
  bool done(std::uint64_t ticket) const;

 private:
  struct Counters {
    alignas(64) std::atomic<std::uint64_t> ready;
    alignas(64) std::atomic<std::uint64_t> delivered;
  };
  Counters& own() const { return memory_.notes<Counters>(rank_); }

  const World& world_;   // for its threads
  SharedMemory memory_;  // counters of each rank
  int rank_ = 0, size_ = 1;
  std::uint64_t started_ = 0, delivered_ = 0;
};

}  // namespace brigade::communication
