// Memory of one rank that the other ranks of its node may write and read.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <memory>
#include <span>
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

 private:
  std::size_t bytes_;
  int rank_ = 0, ranks_ = 1;
  std::vector<std::byte*> parts_;  // by rank
};

/// One block for all ranks of `node`, zeroed; each rank has touched an equal part of it, in rank order. Collective.
/// Null, on all ranks alike, if the node does not give that much shared memory.
std::unique_ptr<SharedBlock> share_block(MPI_Comm node, std::size_t bytes);

}  // namespace brigade::communication
