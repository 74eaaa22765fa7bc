// Concatenation: copies between tensors and slices of a wider one. Memory passes: reads 1, writes 1.
#include "brigade/ops/concat.hpp"

#include <algorithm>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

void copy(const Shape& shape, const float* from, std::int64_t from_pitch, float* to, std::int64_t to_pitch) {
  if (from == to && from_pitch == to_pitch) return;
  const bool dense = from_pitch == shape.back() && to_pitch == shape.back();
  for_each_run(shape, dense, [&](std::int64_t row, std::int64_t column, std::int64_t n) {
    std::copy_n(from + row * from_pitch + column, n, to + row * to_pitch + column);
  });
}

}  // namespace

void HostBackend::forward(const ops::Concat&, const ops::Concat::Forward& t) {
  float* slice = t.y.f32();
  for (const ConstTensorView& x : t.x) {
    EXPECT(x.shape.size() / x.shape.back() == t.y.shape.size() / t.y.shape.back());
    copy(x.shape, x.f32(), x.pitch, slice, t.y.pitch);
    slice += x.shape.back();
  }
  EXPECT(slice == t.y.f32() + t.y.shape.back());
}

void HostBackend::backward(const ops::Concat&, const ops::Concat::Backward& t) {
  const float* slice = t.dy.f32();
  for (const TensorView& dx : t.dx) {
    EXPECT(dx.shape.size() / dx.shape.back() == t.dy.shape.size() / t.dy.shape.back());
    if (dx) copy(dx.shape, slice, t.dy.pitch, dx.f32(), dx.pitch);
    slice += dx.shape.back();
  }
  EXPECT(slice == t.dy.f32() + t.dy.shape.back());
}

}  // namespace brigade::host
