#include "gradient_kernel.hpp"

#include <array>
#include <utility>

namespace brigade::host {
namespace {

// One step of the tile; of pairs, perhaps only their first or second numbers.
template <Factors kFactors, int kHalf, int kRows, int kVectors>
[[gnu::always_inline]] inline void add_half(const float* x, const float* dy, Vec (&d)[kRows][kVectors]) {
  Vec row_of_dy[kVectors];
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) row_of_dy[j] = load(dy + (kHalf * kVectors + j) * kLanes);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const auto s = factor<kFactors, kHalf>(x + i);
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) d[i][j] = multiply_add(d[i][j], s, row_of_dy[j]);
  }
}

template <Factors kFactors, int kRows, int kVectors>
[[gnu::noinline]] void add_steps(const GradientArgs& g) {
  Vec d[kRows][kVectors];
  const bool whole = g.last_lanes == kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const float* from = g.dw + i * g.dw_pitch + j * kLanes;
      d[i][j] = !g.accumulate ? Vec{} : j == kVectors - 1 && !whole ? load_first(from, g.last_lanes) : load(from);
      __builtin_prefetch(g.next_dw + i * g.dw_pitch + j * kLanes, 1, 3);
    }
  const float* x = g.x;
  const char* soon = static_cast<const char*>(g.prefetch);
#pragma GCC unroll 2
  for (int p = 0; p < g.n_steps; ++p, x += g.x_step) {
    const float* dy = g.dy + g.dy_offsets[p];
    __builtin_prefetch(soon, 0, 2);
    soon += g.prefetch_step;
    add_half<kFactors, 0>(x, dy, d);
    if constexpr (halves_of(kFactors) == 2) add_half<kFactors, 1>(x, dy, d);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      float* to = g.dw + i * g.dw_pitch + j * kLanes;
      if (j == kVectors - 1 && !whole)
        store_first(to, d[i][j], g.last_lanes);
      else
        store(to, d[i][j]);
    }
}

// [rows - 1]
template <Factors kFactors, int kVectors, int... kRows>
constexpr auto kernels_of(std::integer_sequence<int, kRows...>) {
  return std::array<GradientKernel, sizeof...(kRows)>{add_steps<kFactors, kRows + 1, kVectors>...};
}
template <Factors kFactors, int kVectors>
constexpr auto kKernels = kernels_of<kFactors, kVectors>(std::make_integer_sequence<int, gradient_rows(kVectors)>());

template <Factors kFactors>
GradientKernel kernel(int rows, int vectors) {
  const auto row = static_cast<std::size_t>(rows - 1);
  if constexpr (kMaxVectors == 4) {
    if (vectors == 4) return kKernels<kFactors, 4>[row];
    if (vectors == 3) return kKernels<kFactors, 3>[row];
  }
  return vectors == 2 ? kKernels<kFactors, 2>[row] : kKernels<kFactors, 1>[row];
}

}  // namespace

GradientKernel gradient_kernel(Factors factors, int rows, int vectors) {
  return factors == Factors::floats ? kernel<Factors::floats>(rows, vectors)
                                    : kernel<Factors::bf16_pairs>(rows, vectors);
}

}  // namespace brigade::host
