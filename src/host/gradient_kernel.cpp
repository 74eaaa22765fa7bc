#include "gradient_kernel.hpp"

#include <array>
#include <utility>

namespace brigade::host {
namespace {

template <int kRows, int kVectors>
[[gnu::noinline]] void add_pixels(const GradientArgs& g) {
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
  const float *x = g.x, *soon = g.prefetch;
#pragma GCC unroll 2
  for (int p = 0; p < g.n_pixels; ++p, x += g.x_step) {
    const float* dy = g.dy + g.dy_offsets[p];
    Vec row_of_dy[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) row_of_dy[j] = load(dy + j * kLanes);
    __builtin_prefetch(soon, 0, 2);
    soon += g.prefetch_step;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const float s = x[i];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) d[i][j] += s * row_of_dy[j];
    }
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
template <int kVectors, int... kRows>
constexpr auto kernels_of(std::integer_sequence<int, kRows...>) {
  return std::array<GradientKernel, sizeof...(kRows)>{add_pixels<kRows + 1, kVectors>...};
}
template <int kVectors>
constexpr auto kKernels = kernels_of<kVectors>(std::make_integer_sequence<int, gradient_rows(kVectors)>());

}  // namespace

GradientKernel gradient_kernel(int rows, int vectors) {
  const auto row = static_cast<std::size_t>(rows - 1);
  if constexpr (kMaxVectors == 4) {
    if (vectors == 4) return kKernels<4>[row];
    if (vectors == 3) return kKernels<3>[row];
  }
  return vectors == 2 ? kKernels<2>[row] : kKernels<1>[row];
}

}  // namespace brigade::host
