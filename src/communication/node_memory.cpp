#include "node_memory.hpp"

#include <algorithm>

#include "communicator_impl.hpp"
#include "watch.hpp"

namespace brigade::communication {

void* NodeMemory::allocate(std::size_t bytes) {
  meet(node_, "allocating arrays that the ranks of a node share");  // watched; what follows is not
  Block& block = blocks_.emplace_back(Block{SharedMemory(node_.comm, std::max<std::size_t>(bytes, 1)), nullptr, bytes});
  if (!block.memory) {
    blocks_.pop_back();
    return host_memory().allocate(bytes);
  }
  return block.mine = block.memory.part(node_.rank);
}

void NodeMemory::deallocate(void* pointer, std::size_t bytes) noexcept {
  if (blocks_.remove_if([&](const Block& block) { return block.mine == pointer; }) == 0)
    host_memory().deallocate(pointer, bytes);
}

std::vector<float*> NodeMemory::everyones(std::span<float> mine) const {
  const auto* begin = reinterpret_cast<const std::byte*>(mine.data());
  for (const Block& block : blocks_) {
    if (begin < block.mine || begin + mine.size_bytes() > block.mine + block.bytes) continue;
    std::vector<float*> arrays;
    arrays.reserve(static_cast<std::size_t>(block.memory.ranks()));
    for (int rank = 0; rank < block.memory.ranks(); ++rank)
      arrays.push_back(reinterpret_cast<float*>(block.memory.part(rank) + (begin - block.mine)));
    return arrays;
  }
  return {};
}

}  // namespace brigade::communication
