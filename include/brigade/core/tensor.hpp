/// Element types and non-owning views of tensors in host or device memory.
///
/// Layout is NHWC: the last extent (channels) is contiguous. `pitch` is the distance in elements
/// between neighbours along the second-last axis (two pixels, or two rows of a matrix); it is the
/// last extent for a dense tensor and larger for a slice of channels of a wider tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "brigade/core/error.hpp"
#include "brigade/core/shape.hpp"

namespace brigade {

enum class DType : std::uint8_t { f32, bf16, i32, u8 };

constexpr std::size_t size_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16: return 2;
    case DType::u8: return 1;
  }
  return 0;
}

/// Maps a C++ type to its DType (only for the types kernels see as such).
template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::u8;
}

/// A view of elements that may be written (TensorView) or only read (ConstTensorView).
template <class Pointer>
struct BasicTensorView {
  Pointer data = nullptr;
  Shape shape;
  DType dtype = DType::f32;
  std::int64_t pitch = 0;

  BasicTensorView() = default;
  BasicTensorView(Pointer p, const Shape& s, DType t = DType::f32, std::int64_t row_pitch = 0)
      : data(p), shape(s), dtype(t), pitch(row_pitch == 0 ? s.back() : row_pitch) {}
  /// A writable view converts to a read-only one.
  template <class Other>
  BasicTensorView(const BasicTensorView<Other>& other)  // NOLINT(google-explicit-constructor)
      : data(other.data), shape(other.shape), dtype(other.dtype), pitch(other.pitch) {}

  explicit operator bool() const { return data != nullptr; }
  bool dense() const { return pitch == shape.back(); }
  std::size_t bytes() const { return static_cast<std::size_t>(shape.size()) * size_of(dtype); }

  /// The first element, typed. Debug builds check the type.
  template <class T>
  auto as() const {
    EXPECT(dtype == dtype_of<T>());
    if constexpr (std::is_const_v<std::remove_pointer_t<Pointer>>)
      return static_cast<const T*>(data);
    else
      return static_cast<T*>(data);
  }
  const float* f32() const requires std::is_const_v<std::remove_pointer_t<Pointer>> { return as<float>(); }
  float* f32() const requires(!std::is_const_v<std::remove_pointer_t<Pointer>>) { return as<float>(); }
};

using TensorView = BasicTensorView<void*>;
using ConstTensorView = BasicTensorView<const void*>;

}  // namespace brigade
