// Concatenation: copies between tensors and slices of a wider one. Memory passes: reads 1, writes 1.
#include "brigade/ops/concat.hpp"

#include <algorithm>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

template <class T>
void copy(const Shape& shape, const T* from, std::int64_t from_pitch, T* to, std::int64_t to_pitch) {
  if (from == to && from_pitch == to_pitch) return;
  const bool dense = from_pitch == shape.back() && to_pitch == shape.back();
  for_each_run(shape, dense, [&](std::int64_t row, std::int64_t column, std::int64_t n) {
    std::copy_n(from + row * from_pitch + column, n, to + row * to_pitch + column);
  });
}

template <class T>
void forward_as(const ops::Concat::Forward& t) {
  T* slice = t.y.as<T>();
  for (const ConstTensorView& x : t.x) {
    EXPECT(x.shape.size() / x.shape.back() == t.y.shape.size() / t.y.shape.back());
    copy(x.shape, x.as<T>(), x.pitch, slice, t.y.pitch);
    slice += x.shape.back();
  }
  EXPECT(slice == t.y.as<T>() + t.y.shape.back());
}

template <class T>
void backward_as(const ops::Concat::Backward& t) {
  const T* slice = t.dy.as<T>();
  for (const TensorView& dx : t.dx) {
    EXPECT(dx.shape.size() / dx.shape.back() == t.dy.shape.size() / t.dy.shape.back());
    if (dx) copy(dx.shape, slice, t.dy.pitch, dx.as<T>(), dx.pitch);
    slice += dx.shape.back();
  }
  EXPECT(slice == t.dy.as<T>() + t.dy.shape.back());
}

}  // namespace

void HostBackend::forward(const ops::Concat&, const ops::Concat::Forward& t) {
  with_element(t.y.dtype, [&](auto element) { forward_as<typename decltype(element)::Type>(t); });
}

void HostBackend::backward(const ops::Concat&, const ops::Concat::Backward& t) {
  with_element(t.dy.dtype, [&](auto element) { backward_as<typename decltype(element)::Type>(t); });
}

}  // namespace brigade::host
