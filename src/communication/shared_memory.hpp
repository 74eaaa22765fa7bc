// Memory of one rank that the other ranks of its node may write and read.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

#include "brigade/core/team.hpp"

namespace brigade::communication {

/// A part of `bytes` bytes for each rank, zeroed, on pages of its own that its rank has touched first (so they lie on
/// that rank's memory controller). The names are gone from /dev/shm before the constructor returns: however the ranks
/// end, the kernel frees the memory. Nothing has to be agreed on at the end.
class SharedMemory {
 public:
  /// Collective over the ranks of `node`.
  SharedMemory(MPI_Comm node, std::size_t bytes);
  ~SharedMemory();
  SharedMemory(SharedMemory&&) = default;
  SharedMemory& operator=(SharedMemory&&) = delete;

  /// False, on all ranks alike, if the node does not give that much shared memory.
  explicit operator bool() const { return !parts_.empty(); }
  std::byte* part(int rank) const { return parts_[static_cast<std::size_t>(rank)]; }
  int rank() const { return rank_; }
  int ranks() const { return ranks_; }

  /// What a rank tells the others, at the beginning of its part: lock-free atomics without constructors or destructors
  /// to run, so that zeroed memory holds zeros.
  template <class Notes>
  Notes& notes(int rank) const {
    static_assert(std::is_trivially_destructible_v<Notes>);
    return *std::launder(reinterpret_cast<Notes*>(part(rank)));
  }
  /// All ranks' counter is at `at_least` or beyond; what they did before they set it is seen.
  template <class Notes>
  bool everyone(std::atomic<std::uint64_t> Notes::*counter, std::uint64_t at_least) const {
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
    for (int rank = 0; rank < ranks_; ++rank)
      if ((notes<Notes>(rank).*counter).load(std::memory_order_acquire) < at_least) return false;
    return true;
  }

 private:
  std::size_t bytes_;
  int rank_ = 0, ranks_ = 1;
  std::vector<std::byte*> parts_;  // by rank
};

/// One block for all ranks of `node`, zeroed; each rank has touched an equal part of it, in rank order. Collective.
/// Null, on all ranks alike, if the node does not give that much shared memory.
std::unique_ptr<SharedBlock> share_block(MPI_Comm node, std::size_t bytes);

}  // namespace brigade::communication
