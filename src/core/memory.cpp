#include "brigade/core/memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace brigade {
namespace {

constexpr std::size_t kHugePage = 2U << 20;

class HostMemory final : public MemoryResource {
 public:
  void* allocate(std::size_t bytes) override {
    const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    const std::size_t padded = std::max<std::size_t>(1, (bytes + 63) / 64) * 64;  // no huge page for the last few bytes
    void* pointer = nullptr;
    if (posix_memalign(&pointer, alignment, padded) != 0) throw std::bad_alloc();
    if (alignment == kHugePage) madvise(pointer, padded, MADV_HUGEPAGE);  // a wish, may be refused
    std::memset(pointer, 0, padded);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t) noexcept override { std::free(pointer); }
};

}  // namespace

MemoryResource& host_memory() {
  static HostMemory* const memory = new HostMemory;  // for good: static objects may give their buffers back last
  return *memory;
}

Buffer::Buffer(MemoryResource& resource, std::size_t bytes)
    : resource_(&resource), data_(resource.allocate(bytes)), bytes_(bytes) {}

Buffer::~Buffer() {
  if (data_ != nullptr) resource_->deallocate(data_, bytes_);
}

}  // namespace brigade
