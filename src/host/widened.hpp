// bf16 tensors for kernels that know floats only: a pass over memory for each tensor, and scratch of its size.
#pragma once

#include "host_backend.hpp"

namespace brigade::host {

// An f32 tensor of this shape, in scratch memory.
inline TensorView wide_scratch(HostBackend& backend, const Shape& shape, Scratch purpose) {
  return {backend.scratch<float>(purpose, shape.size()), shape};
}

// t as floats: itself, if it holds floats, else a copy.
inline ConstTensorView widened(HostBackend& backend, const ConstTensorView& t, Scratch purpose) {
  if (t.dtype == DType::f32) return t;
  const TensorView copy = wide_scratch(backend, t.shape, purpose);
  backend.update(ops::Blend{.keep = 0, .add = 1}, {.x = t, .y = copy});
  return copy;
}

}  // namespace brigade::host
