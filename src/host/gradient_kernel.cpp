#include "gradient_kernel.hpp"

#include <array>
#include <utility>

namespace brigade::host {
namespace {

template <ChannelRows kKind, int kRows, int kVectors>
[[gnu::noinline]] void add_pixels(const GradientArgs& g) {
  Vec d[kRows][kVectors];
  const bool whole = g.last_lanes == kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const float* from = g.dw + i * g.dw_pitch + j * kLanes;
      d[i][j] = !g.accumulate ? Vec{} : j == kVectors - 1 && !whole ? load_first(from, g.last_lanes) : load(from);
    }
  const float* soon = g.prefetch == nullptr ? g.dy : g.prefetch;  // a page that is mapped, at least
  const std::int64_t soon_step = g.prefetch == nullptr ? 0 : g.prefetch_step;
#pragma GCC unroll 2
  for (int p = 0; p < g.n_pixels; ++p) {
    const float* x = g.x + g.pixels[p].x;
    const float* dy = g.dy + g.pixels[p].dy;
    Vec row_of_dy[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) row_of_dy[j] = load(dy + j * kLanes);
    __builtin_prefetch(soon, 0, 2);
    soon += soon_step;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const float s = kKind == ChannelRows::consecutive ? x[i] : x[g.row_offsets[i]];
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
template <ChannelRows kKind, int kVectors, int... kRows>
constexpr auto kernels_of(std::integer_sequence<int, kRows...>) {
  return std::array<GradientKernel, sizeof...(kRows)>{add_pixels<kKind, kRows + 1, kVectors>...};
}
template <ChannelRows kKind, int kVectors>
constexpr auto kKernels = kernels_of<kKind, kVectors>(std::make_integer_sequence<int, gradient_rows(kVectors)>());

template <ChannelRows kKind>
GradientKernel kernel_of(int rows, int vectors) {
  const auto row = static_cast<std::size_t>(rows - 1);
  if constexpr (kMaxVectors == 4) {
    if (vectors == 4) return kKernels<kKind, 4>[row];
    if (vectors == 3) return kKernels<kKind, 3>[row];
  }
  return vectors == 2 ? kKernels<kKind, 2>[row] : kKernels<kKind, 1>[row];
}

}  // namespace

GradientKernel gradient_kernel(ChannelRows kind, int rows, int vectors) {
  return kind == ChannelRows::consecutive ? kernel_of<ChannelRows::consecutive>(rows, vectors)
                                          : kernel_of<ChannelRows::scattered>(rows, vectors);
}

}  // namespace brigade::host
