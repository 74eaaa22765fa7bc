/// Memory in which a backend keeps what it made of weights that stay as they are: a packed copy, say. It belongs to
/// whoever owns the weights, goes with one operation on one backend, and is clear()ed when they change.
#pragma once

#include <cstddef>

#include "brigade/core/memory.hpp"

namespace brigade::ops {

class KeptWeights {
 public:
  /// The weights are others from here on. The memory stays, for what is made of those.
  void clear() { known_ = false; }

  /// For backends: `bytes` of `memory` that make(void*) wrote, in this call or in an earlier one.
  template <class Make>
  const void* get(MemoryResource& memory, std::size_t bytes, const Make& make) {
    if (buffer_.bytes() != bytes) {
      buffer_ = Buffer();  // first give back, then ask
      buffer_ = Buffer(memory, bytes);
      known_ = false;
    }
    if (!known_) make(buffer_.data());
    known_ = true;
    return buffer_.data();
  }

 private:
  Buffer buffer_;
  bool known_ = false;
};

}  // namespace brigade::ops
