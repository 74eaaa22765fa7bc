#include "tile_kernel.hpp"

#include <cstdlib>
#include <type_traits>

#include "activation.hpp"

namespace brigade::host {
namespace {

// Every loop over the accumulators must be unrolled, and every function that takes them inlined, or the compiler keeps
// the array in memory.
template <int kRows, int kVectors>
[[gnu::always_inline]] inline void load_tile(const TileArgs& g, Vec (&c)[kRows][kVectors]) {
  if (g.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const float* out = g.out[i] + g.first_column;
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j)
        c[i][j] = j == kVectors - 1 && g.last_lanes < kLanes ? load_first(out + j * kLanes, g.last_lanes)
                                                             : load(out + j * kLanes);
    }
  } else {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const Vec start = g.bias == nullptr ? Vec{} : load(g.bias + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) c[i][j] = start;
    }
  }
}

template <ops::Activation kBy, int kRows, int kVectors>
[[gnu::always_inline]] inline void activate_tile(Vec (&c)[kRows][kVectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) c[i][j] = activate<kBy>(c[i][j]);
}

// `rows` of the tile count: usually all, which the compiler should know.
template <int kRows, int kVectors, class Rows>
[[gnu::always_inline]] inline void measure_rows(const TileArgs& g, Vec (&c)[kRows][kVectors], Rows rows) {
  const Moments to = g.moments;
  const bool begins = g.begins_moments;
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) {
    Vec shift{}, sum{}, squares{};
    if (begins) {
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
        if (i < rows) shift += c[i][j];
      shift *= 1.0F / static_cast<float>(rows);
      store(to.shift + j * kLanes, shift);
    } else {
      shift = load(to.shift + j * kLanes);
      sum = load(to.sum + j * kLanes);
      squares = load(to.squares + j * kLanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
      if (i < rows) {
        const Vec difference = c[i][j] - shift;
        sum += difference;
        squares += difference * difference;
      }
    store(to.sum + j * kLanes, sum);
    store(to.squares + j * kLanes, squares);
  }
}

template <int kRows, int kVectors>
[[gnu::always_inline]] inline void measure_tile(const TileArgs& g, Vec (&c)[kRows][kVectors]) {
  if (g.measured_rows == kRows)
    measure_rows<kRows, kVectors>(g, c, std::integral_constant<int, kRows>());
  else
    measure_rows<kRows, kVectors>(g, c, g.measured_rows);
}

// Two registers, rounded: one instruction and one store for both.
inline void store_two(Bf16* to, Vec first, Vec second) {
#if defined(__AVX512BF16__)
  _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#else
  store(to, first);
  store(to + kLanes, second);
#endif
}

template <int kRows, int kVectors>
[[gnu::always_inline]] inline void store_rounded(const TileArgs& g, const Vec (&c)[kRows][kVectors]) {
  Bf16* const* rows = g.narrow_out;
  const std::int64_t column = g.first_column;
  const int last_lanes = g.last_lanes;
  if (last_lanes == kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      Bf16* out = rows[i] + column;
#pragma GCC unroll 4
      for (int j = 0; j + 2 <= kVectors; j += 2) store_two(out + j * kLanes, c[i][j], c[i][j + 1]);
      if constexpr (kVectors % 2 != 0) store(out + (kVectors - 1) * kLanes, c[i][kVectors - 1]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    Bf16* out = rows[i] + column;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors - 1; ++j) store(out + j * kLanes, c[i][j]);
    store_first(out + (kVectors - 1) * kLanes, c[i][kVectors - 1], last_lanes);
  }
}

// Calls store(where, j, register j of a row).
template <int kRows, int kVectors, class Store>
[[gnu::always_inline]] inline void store_rows(const TileArgs& g, const Vec (&c)[kRows][kVectors], const Store& store) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    float* out = g.out[i] + g.first_column;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(out + j * kLanes, j, c[i][j]);
  }
}

template <Factors kFactors, int kRows, int kVectors>
[[gnu::always_inline]] inline void store_tile(const TileArgs& g, Vec (&c)[kRows][kVectors]) {
  if (g.moments.shift != nullptr) measure_tile<kRows, kVectors>(g, c);
  if (g.activation == ops::Activation::relu) activate_tile<ops::Activation::relu>(c);
  if (g.activation == ops::Activation::relu6) activate_tile<ops::Activation::relu6>(c);
  if (kFactors == Factors::bf16_pairs && g.narrow_out != nullptr) return store_rounded<kRows, kVectors>(g, c);
  const int last_lanes = g.last_lanes;
  if (g.streaming)
    store_rows<kRows, kVectors>(g, c, [](float* p, int, Vec v) { store_streaming(p, v); });
  else if (last_lanes == kLanes)
    store_rows<kRows, kVectors>(g, c, [](float* p, int, Vec v) { store(p, v); });
  else
    store_rows<kRows, kVectors>(
        g, c, [&](float* p, int j, Vec v) { return j == kVectors - 1 ? store_first(p, v, last_lanes) : store(p, v); });
}

// One k step of the tile; of pairs, perhaps only their first or second numbers.
template <Factors kFactors, int kHalf, int kRows, int kVectors>
[[gnu::always_inline]] inline void multiply_half(const float* const (&a)[kRows], int k, const float* b,
                                                 Vec (&c)[kRows][kVectors]) {
  Vec row_of_b[kVectors];
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) row_of_b[j] = load(b + (kHalf * kVectors + j) * kLanes);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const auto s = factor<kFactors, kHalf>(a[i] + k);
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) c[i][j] = multiply_add(c[i][j], s, row_of_b[j]);
  }
}

template <Factors kFactors, RowKind kKind, int kRows, int kVectors>
[[gnu::noinline]] void multiply_tile(const TileArgs& g) {
  Vec c[kRows][kVectors];
  load_tile<kRows, kVectors>(g, c);
  const float* soon = g.prefetch == nullptr ? g.b : g.prefetch;  // a page that is mapped, at least
  const std::int64_t soon_step = g.prefetch == nullptr ? 0 : g.prefetch_step;
  for (int t = 0; t < g.n_taps; ++t) {
    const std::int32_t tap = kKind == RowKind::by_offset ? g.first_tap + t : g.taps[t];
    const float* a[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
      a[i] = kKind == RowKind::by_offset ? g.rows[i] + g.offsets[t] + g.first_channel
                                         : g.rows[t * kRows + i] + g.first_channel;
    const float* b = g.b + tap * g.b_tap_step;
#pragma GCC unroll 2
    for (int k = 0; k < g.n_channels; ++k) {
      __builtin_prefetch(soon, 0, 2);
      soon += soon_step;
      multiply_half<kFactors, 0, kRows, kVectors>(a, k, b, c);
      if constexpr (halves_of(kFactors) == 2) multiply_half<kFactors, 1, kRows, kVectors>(a, k, b, c);
      b += g.b_channel_step;
    }
  }
  store_tile<kFactors, kRows, kVectors>(g, c);
}

// Tiles of one product have the same rows, while its panels may differ by one vector.
template <Factors kFactors, RowKind kKind, int kVectors>
TileKernel kernel_of(int rows) {
  if (rows == tile_rows(kVectors)) return multiply_tile<kFactors, kKind, tile_rows(kVectors), kVectors>;
  if (rows == 1) return multiply_tile<kFactors, kKind, 1, kVectors>;
  if constexpr (kRegisters == 32 && kVectors <= kLowVectors)
    if (rows == kLowRows) return multiply_tile<kFactors, kKind, kLowRows, kVectors>;
  if constexpr (kVectors < kMaxVectors)
    if (rows == tile_rows(kVectors + 1)) return multiply_tile<kFactors, kKind, tile_rows(kVectors + 1), kVectors>;
  std::abort();
}

template <Factors kFactors, RowKind kKind>
TileKernel kernel_of(int rows, int vectors) {
  switch (vectors) {
    case 1: return kernel_of<kFactors, kKind, 1>(rows);
    case 2: return kernel_of<kFactors, kKind, 2>(rows);
    default:
      if constexpr (kMaxVectors == 4)
        return vectors == 3 ? kernel_of<kFactors, kKind, 3>(rows) : kernel_of<kFactors, kKind, 4>(rows);
      else
        std::abort();
  }
}

template <Factors kFactors>
TileKernel kernel_of(RowKind kind, int rows, int vectors) {
  return kind == RowKind::by_offset ? kernel_of<kFactors, RowKind::by_offset>(rows, vectors)
                                    : kernel_of<kFactors, RowKind::by_pointer>(rows, vectors);
}

}  // namespace

TileKernel tile_kernel(Factors factors, RowKind kind, int rows, int vectors) {
  return factors == Factors::floats ? kernel_of<Factors::floats>(kind, rows, vectors)
                                    : kernel_of<Factors::bf16_pairs>(kind, rows, vectors);
}

}  // namespace brigade::host
