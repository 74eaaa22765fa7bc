// One register's worth of floats, as GCC's vector extension: arithmetic operators work on it, and
// the compiler chooses the instructions. The width follows the processor the room is compiled for.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "brigade/core/bf16.hpp"

namespace brigade::host {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

// How many of them the processor has: what a register-blocked kernel may hold at once.
#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kRegisters = 32;
#else
inline constexpr int kRegisters = 16;
#endif

using Vec = float __attribute__((vector_size(4 * kLanes)));
using VecUnaligned = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using IntVec = std::int32_t __attribute__((vector_size(4 * kLanes)));
using UintVec = std::uint32_t __attribute__((vector_size(4 * kLanes)));

inline Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }
inline Vec broadcast(float s) { return Vec{} + s; }

// c + a * b, rounded once if the processor can. Written as that sum, it is the compiler's choice, place by place; where
// two kernels have to give the same bits, they use this.
inline Vec fused_multiply_add(Vec c, Vec a, Vec b) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return c + a * b;
#endif
}

// The first n lanes only; the others read as 0 and are not written. 0 <= n <= kLanes.
inline Vec load_first(const float* p, int n) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1U), p);
#else
  float lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
#endif
}
inline void store_first(float* p, Vec v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << n) - 1U), (__m512)v);
#else
  float lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

// bf16 in memory, floats in the register. (GCC 12 warns about intrinsics without a mask.)
using HalfVec = std::uint16_t __attribute__((vector_size(2 * kLanes)));

inline IntVec zero_extend(HalfVec v) {
#if defined(__AVX512F__)
  return (IntVec)_mm512_maskz_cvtepu16_epi32(0xFFFF, (__m256i)v);
#else
  return __builtin_convertvector(v, IntVec);
#endif
}
inline Vec widen(HalfVec v) { return (Vec)(zero_extend(v) << 16); }
// Rounds to nearest even; NaN stays NaN. (The instruction for it flushes denormals, as those that multiply bf16 do.)
inline HalfVec narrow(Vec v) {
#if defined(__AVX512BF16__)
  return (HalfVec)_mm512_cvtneps_pbh((__m512)v);
#else
  const auto word = (UintVec)v;
  const UintVec rounded = (v != v) ? (word | 0x400000U) : word + 0x7FFFU + ((word >> 16) & 1U);
#if defined(__AVX512F__)
  return (HalfVec)_mm512_maskz_cvtepi32_epi16(0xFFFF, (__m512i)(rounded >> 16));
#else
  return __builtin_convertvector(rounded >> 16, HalfVec);
#endif
#endif
}

inline HalfVec load_bits(const Bf16* p) {
  HalfVec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline Vec load(const Bf16* p) { return widen(load_bits(p)); }
inline void store(Bf16* p, Vec v) {
  const HalfVec half = narrow(v);
  std::memcpy(p, &half, sizeof half);
}
inline HalfVec load_first_bits(const Bf16* p, int n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  return (HalfVec)_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1U << n) - 1U), p);
#else
  Bf16 lanes[kLanes] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load_bits(lanes);
#endif
}
inline Vec load_first(const Bf16* p, int n) { return widen(load_first_bits(p, n)); }
inline void store_first(Bf16* p, Vec v, int n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1U << n) - 1U), (__m256i)narrow(v));
#else
  Bf16 lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

// Past the caches: for output larger than them that nobody reads soon. p is aligned to a register.
inline void store_streaming(float* p, Vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#else
  store(p, v);
#endif
}

// p is aligned to half a register.
inline void store_streaming(Bf16* p, Vec v) {
#if defined(__AVX512F__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)narrow(v));
#else
  store(p, v);
#endif
}

// What this thread stored so is in memory before anything it does next.
inline void finish_streaming() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

// One instruction each, of which GCC 12 makes a comparison and a selection. If a number is NaN, or both are zeros, the
// result is b.
inline Vec max(Vec a, Vec b) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_max_ps(0xFFFF, (__m512)a, (__m512)b);
#else
  return a > b ? a : b;
#endif
}
inline Vec min(Vec a, Vec b) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_min_ps(0xFFFF, (__m512)a, (__m512)b);
#else
  return a < b ? a : b;
#endif
}

namespace detail {
// Exchanges the off-diagonal blocks of the 2x2 blocks of `distance` lanes in rows a and b.
template <int distance, int... lane>
inline void exchange(Vec& a, Vec& b, std::integer_sequence<int, lane...>) {
  const Vec low = __builtin_shufflevector(a, b, ((lane & distance) ? kLanes + lane - distance : lane)...);
  b = __builtin_shufflevector(a, b, ((lane & distance) ? kLanes + lane : lane + distance)...);
  a = low;
}
template <int distance>
inline void transpose_rounds(Vec* rows) {
  if constexpr (distance < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
      if ((i & distance) == 0)
        exchange<distance>(rows[i], rows[i + distance], std::make_integer_sequence<int, kLanes>());
    transpose_rounds<2 * distance>(rows);
  }
}
}  // namespace detail

// Transposes the kLanes x kLanes matrix in place, in log2(kLanes) rounds of pairwise exchanges.
inline void transpose(Vec (&rows)[kLanes]) { detail::transpose_rounds<1>(rows); }

}  // namespace brigade::host
