// Memory for a thread's working set: what it packs, transforms and sums before other loops read it.
#pragma once

#include <cstdint>

#include "brigade/core/memory.hpp"

namespace brigade::host {

// At least so many elements of this thread's, in huge pages and aligned to a cache line, until it asks again. One piece
// of memory for all kernels and a type: they run one after the other.
template <class T = float>
T* thread_memory(std::int64_t count) {
  thread_local Buffer memory;
  const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
  if (memory.bytes() < bytes) {
    memory = Buffer();  // first give back, then ask
    memory = Buffer(host_memory(), bytes);
  }
  return memory.as<T>();
}

}  // namespace brigade::host
