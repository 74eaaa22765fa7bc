// Products of bf16. Two of them share a 32-bit element: neighbouring channels of a pixel, or one channel of two pixels.
// A kernel handles such a pair as it does a float: it broadcasts one of A, loads a row of them of B, and a step adds
// both products to every sum. So pointers, strides and loops are those of floats.
//
// Processors with AVX512_BF16 have one instruction for it, with twice the products of an FMA. Others take a step in two
// halves, each an FMA of floats: B is kept widened (a row of the first numbers of all pairs, then one of the second),
// and A's broadcast is shifted or masked, two cheap operations for `vectors` FMAs.
#pragma once

#include "vector.hpp"

namespace brigade::host {

enum class Factors { floats, bf16_pairs };

#if defined(__AVX512BF16__)
inline constexpr int kPairHalves = 1;
#else
inline constexpr int kPairHalves = 2;
#endif
constexpr int halves_of(Factors factors) { return factors == Factors::bf16_pairs ? kPairHalves : 1; }

// What a half step multiplies by: the element of A at p, to be broadcast.
template <Factors kFactors, int kHalf>
[[gnu::always_inline]] inline auto factor(const float* p) {
  if constexpr (kFactors == Factors::floats) {
    return *p;
  } else {
    std::int32_t pair;  // never a float: arithmetic could change its bits
    std::memcpy(&pair, p, sizeof pair);
    if constexpr (kPairHalves == 1)
      return IntVec{} + pair;
    else if constexpr (kHalf == 0)
      return (Vec)((IntVec{} + pair) << 16);
    else
      return (Vec)((IntVec{} + pair) & static_cast<std::int32_t>(0xFFFF0000U));
  }
}

// c + a * b, lane by lane.
inline Vec multiply_add(Vec c, float a, Vec b) { return c + a * b; }
inline Vec multiply_add(Vec c, Vec a, Vec b) { return c + a * b; }
#if defined(__AVX512BF16__)
inline Vec multiply_add(Vec c, IntVec a, Vec b) { return (Vec)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b); }
#endif

// Row of A: pairs of two rows of bf16, side by side in each lane.
inline void store_pairs(float* to, HalfVec even, HalfVec odd) {
  store(to, (Vec)(zero_extend(even) | (IntVec)widen(odd)));
}

// Register j of a row of B of `vectors` registers of pairs.
inline void store_row_of_pairs(float* row, int vectors, int j, HalfVec even, HalfVec odd) {
  if constexpr (kPairHalves == 1) {
    store_pairs(row + j * kLanes, even, odd);
  } else {
    store(row + j * kLanes, widen(even));
    store(row + (vectors + j) * kLanes, widen(odd));
  }
}

}  // namespace brigade::host
