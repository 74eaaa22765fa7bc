// Memory for a thread's working set: what it packs, transforms and sums before other loops read it.
#pragma once

#include <cstdint>

#include "brigade/core/memory.hpp"

namespace brigade::host {

// At least so many floats of this thread's, in huge pages and aligned to a cache line, until it asks again. One piece of
// memory for all kernels: they run one after the other.
inline float* thread_memory(std::int64_t floats) {
  thread_local Buffer memory;
  const auto bytes = static_cast<std::size_t>(floats) * sizeof(float);
  if (memory.bytes() < bytes) {
    memory = Buffer();  // first give back, then ask
    memory = Buffer(host_memory(), bytes);
  }
  return memory.as<float>();
}

}  // namespace brigade::host
