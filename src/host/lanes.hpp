// Loops over contiguous floats (or bf16, which are floats once loaded), a register at a time, and the split of a tensor
// into parts.
#pragma once

#include <algorithm>
#include <cstdint>

#include "brigade/core/tensor.hpp"
#include "parallel.hpp"
#include "vector.hpp"

namespace brigade::host {

// How a loop body reads and writes: a whole register ...
struct Whole {
  Vec load(const float* p) const { return host::load(p); }
  Vec load(const Bf16* p) const { return host::load(p); }
  HalfVec load_bits(const Bf16* p) const { return host::load_bits(p); }
  void store(float* p, Vec v) const { host::store(p, v); }
  void store(Bf16* p, Vec v) const { host::store(p, v); }
  // Bytes, one a lane. (GCC 12 warns about the intrinsic without a mask, and converts vectors in many steps.)
  IntVec load_bytes(const std::uint8_t* p) const {
#if defined(__AVX512F__)
    return (IntVec)_mm512_maskz_cvtepu8_epi32(0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
    ByteVec bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, IntVec);
#endif
  }
  void store_bytes(std::uint8_t* p, IntVec v) const {
    const auto bytes = __builtin_convertvector(v, ByteVec);
    std::memcpy(p, &bytes, sizeof bytes);
  }

 private:
  using ByteVec = std::uint8_t __attribute__((vector_size(kLanes)));
};
// ... or its first n lanes (the others read as 0 and are not written).
struct First {
  int n;
  Vec load(const float* p) const { return load_first(p, n); }
  Vec load(const Bf16* p) const { return load_first(p, n); }
  HalfVec load_bits(const Bf16* p) const { return load_first_bits(p, n); }
  void store(float* p, Vec v) const { store_first(p, v, n); }
  void store(Bf16* p, Vec v) const { store_first(p, v, n); }
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  IntVec load_bytes(const std::uint8_t* p) const {
    return (IntVec)_mm512_maskz_cvtepu8_epi32(0xFFFF, _mm_maskz_loadu_epi8(mask(), p));
  }
  void store_bytes(std::uint8_t* p, IntVec v) const {
    _mm_mask_storeu_epi8(p, mask(), _mm512_maskz_cvtepi32_epi8(0xFFFF, (__m512i)v));
  }
  __mmask16 mask() const { return static_cast<__mmask16>((1U << n) - 1U); }
#else
  IntVec load_bytes(const std::uint8_t* p) const {
    std::uint8_t bytes[kLanes] = {};
    for (int i = 0; i < n; ++i) bytes[i] = p[i];
    return Whole{}.load_bytes(bytes);
  }
  void store_bytes(std::uint8_t* p, IntVec v) const {
    std::uint8_t bytes[kLanes];
    Whole{}.store_bytes(bytes, v);
    for (int i = 0; i < n; ++i) p[i] = bytes[i];
  }
#endif
};

// Calls body(i, Whole or First) for the registers that n floats fill.
template <class Body>
inline void over_lanes(std::int64_t n, const Body& body) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Whole{});
  if (i < n) body(i, First{static_cast<int>(n - i)});
}

// v where the condition holds, else 0. GCC would merge the load of v into a masked one that waits for the comparison,
// and so for the other operand's cache miss (half the bandwidth); here v is loaded on its own.
template <class Condition>
inline Vec where(Condition condition, Vec v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#endif
  return condition ? v : Vec{};
}

// max(x, 0) that lets NaN through: a network that diverged must not look healthy.
inline Vec relu(Vec x) { return max(Vec{}, x); }

// The type of an activation's elements, as a value that a generic lambda can take.
template <class T>
struct Element {
  using Type = T;
};
// Calls body(Element<float or Bf16>), so that a kernel is compiled for both: it computes in float either way.
template <class Body>
decltype(auto) with_element(DType type, const Body& body) {
  EXPECT(type == DType::f32 || type == DType::bf16);
  return type == DType::bf16 ? body(Element<Bf16>()) : body(Element<float>());
}

// Calls work(row, column, count) in parallel for runs of `count` contiguous elements that together cover the tensors
// of this shape: element (row, column) lies at row * pitch + column. Dense tensors count as one long row.
template <class Work>
void for_each_run(const Shape& shape, bool dense, const Work& work) {
  constexpr std::int64_t kRun = 8192;  // 32 KiB of floats: long for a loop, short for an even split
  const std::int64_t columns = dense ? shape.size() : shape.back();
  if (columns == 0 || shape.size() == 0) return;
  const std::int64_t rows = shape.size() / columns;
  if (dense) {
    for_each_part((columns + kRun - 1) / kRun, [&](std::int64_t part) {
      work(std::int64_t{0}, part * kRun, std::min(kRun, columns - part * kRun));
    });
  } else {
    const std::int64_t rows_per_part = std::max<std::int64_t>(1, kRun / columns);
    for_each_part((rows + rows_per_part - 1) / rows_per_part, [&](std::int64_t part) {
      const std::int64_t end = std::min(rows, (part + 1) * rows_per_part);
      for (std::int64_t row = part * rows_per_part; row < end; ++row) work(row, std::int64_t{0}, columns);
    });
  }
}

}  // namespace brigade::host
