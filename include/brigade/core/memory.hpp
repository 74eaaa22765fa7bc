/// Memory resources (host, device) and buffers that own their bytes.
#pragma once

#include <cstddef>
#include <utility>

namespace brigade {

/// Where bytes come from. Implementations: host_memory() here, device memory in room `device`.
class MemoryResource {
 public:
  virtual ~MemoryResource() = default;
  /// `bytes` zeroed bytes, aligned to at least 64. Throws std::bad_alloc.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void deallocate(void* pointer, std::size_t bytes) noexcept = 0;
};

/// Host memory in 2 MiB-aligned blocks with huge pages requested. Pages are touched once here, at
/// allocation, so that no page fault falls into a training step.
MemoryResource& host_memory();

/// Owning, movable bytes of a resource.
class Buffer {
 public:
  Buffer() = default;
  Buffer(MemoryResource& resource, std::size_t bytes);
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(resource_, other.resource_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  MemoryResource* resource_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace brigade
