// Sixteen floats, as GCC's vector extension: on processors with smaller registers the compiler uses several.
#pragma once

#include <cstddef>
#include <cstdint>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace brigade::dataset {

inline constexpr std::size_t kLanes = 16;
using Lanes = float __attribute__((vector_size(64)));
using LaneNumbers = std::int32_t __attribute__((vector_size(64)));

inline Lanes load_lanes(const float* from) {
  using Anywhere = float __attribute__((vector_size(64), aligned(4), may_alias));
  return *reinterpret_cast<const Anywhere*>(from);
}
inline Lanes load_lanes(const std::uint8_t* from) {
  using Anywhere = std::uint8_t __attribute__((vector_size(16), aligned(1), may_alias));
  return __builtin_convertvector(*reinterpret_cast<const Anywhere*>(from), Lanes);
}
inline LaneNumbers load_lanes(const std::int32_t* from) {
  using Anywhere = std::int32_t __attribute__((vector_size(64), aligned(4), may_alias));
  return *reinterpret_cast<const Anywhere*>(from);
}
inline void store_lanes(float* to, Lanes values) {
  using Anywhere = float __attribute__((vector_size(64), aligned(4), may_alias));
  *reinterpret_cast<Anywhere*>(to) = values;
}

#if defined(__AVX512F__)
inline constexpr bool kPicksLanes = true;
// Past the caches, for memory that nobody reads soon; `to` is aligned to 64 bytes.
inline void stream_lanes(float* to, Lanes values) { _mm512_stream_ps(to, (__m512)values); }
// What this thread streamed is in memory before anything it does next.
inline void finish_streams() { _mm_sfence(); }
// Lane i is element `which[i]`, in [0, 32), of `low` and `high`.
inline Lanes pick_lanes(Lanes low, Lanes high, LaneNumbers which) {
  return (Lanes)_mm512_permutex2var_ps((__m512)low, (__m512i)which, (__m512)high);
}
#else
inline constexpr bool kPicksLanes = false;  // pick_lanes() takes one element at a time
inline void stream_lanes(float* to, Lanes values) { store_lanes(to, values); }
inline void finish_streams() {}
inline Lanes pick_lanes(Lanes low, Lanes high, LaneNumbers which) {
  Lanes picked{};
  for (std::size_t i = 0; i < kLanes; ++i) {
    const auto from = static_cast<std::size_t>(which[i]);
    picked[i] = from < kLanes ? low[from] : high[from - kLanes];
  }
  return picked;
}
#endif

}  // namespace brigade::dataset
