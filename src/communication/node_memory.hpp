// Arrays that all ranks of a node see, so that they can be summed where they are (in_place_sums.hpp).
#pragma once

#include <list>
#include <span>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/core/memory.hpp"
#include "shared_memory.hpp"

namespace brigade::communication {

class NodeMemory final : public MemoryResource {
 public:
  explicit NodeMemory(Communicator::Impl& node) : node_(node) {}

  /// Collective over the ranks of the node, which ask for the same sizes in the same order: a watched wait. Where
  /// shared memory does not suffice it is memory of one's own, on all of them.
  void* allocate(std::size_t bytes) override;
  void deallocate(void* pointer, std::size_t bytes) noexcept override;

  /// The arrays of all ranks, by rank, of which `mine` is this rank's; empty if it is not from here.
  std::vector<float*> everyones(std::span<float> mine) const;

 private:
  struct Block {
    SharedMemory memory;
    std::byte* mine;
    std::size_t bytes;
  };
  Communicator::Impl& node_;
  std::list<Block> blocks_;
};

}  // namespace brigade::communication
