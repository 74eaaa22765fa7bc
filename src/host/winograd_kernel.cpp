#include "winograd_kernel.hpp"

#include <array>
#include <utility>

#include "ceil_div.hpp"
#include "panels.hpp"
#include "vector.hpp"

namespace brigade::host {
namespace {

// Loops over the accumulators must be unrolled, or the compiler keeps the array in memory.
template <int kRows, int kVectors>
[[gnu::noinline]] void multiply_tile(const WinogradTile& g) {
  Vec c[kRows][kVectors] = {};
  const float* a[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) a[i] = g.a + i * g.a_pitch;
  const float* b = g.b;
  const float* soon = g.prefetch == nullptr ? b : g.prefetch;
  const std::int64_t soon_step = g.prefetch == nullptr ? 0 : 32;
#pragma GCC unroll 2
  for (std::int64_t k = 0; k < g.k; ++k) {
    __builtin_prefetch(soon, 0, 2);
    __builtin_prefetch(soon + 16, 0, 2);
    soon += soon_step;
    Vec row_of_b[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) row_of_b[j] = load(b + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const float s = a[i][k];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) c[i][j] += s * row_of_b[j];
    }
    b += kVectors * kLanes;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(g.c + i * g.c_pitch + j * kLanes, c[i][j]);
}

using Kernel = void (*)(const WinogradTile&);

template <int kVectors, int... row>
constexpr auto kernels(std::integer_sequence<int, row...>) {
  return std::array<Kernel, sizeof...(row)>{multiply_tile<row + 1, kVectors>...};
}

template <int kVectors>
Kernel kernel_of(std::int64_t rows) {
  static constexpr auto kKernels = kernels<kVectors>(std::make_integer_sequence<int, tile_rows(kVectors)>());
  return kKernels[static_cast<std::size_t>(rows - 1)];
}

Kernel kernel_of(std::int64_t rows, int vectors) {
  switch (vectors) {
    case 1: return kernel_of<1>(rows);
    case 2: return kernel_of<2>(rows);
    default:
      if constexpr (kMaxVectors == 4)
        return vectors == 3 ? kernel_of<3>(rows) : kernel_of<4>(rows);
      else
        return nullptr;
  }
}

}  // namespace

void winograd_product(const WinogradTile& first, std::int64_t rows, int vectors, const float* next_b) {
  WinogradTile tile = first;
  const std::int64_t most = tile_rows(vectors), tiles = ceil_div(rows, most);
  const std::int64_t lines = ceil_div(first.k * vectors * kLanes, 16);  // of next_b
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t here = rows / tiles + (t < rows % tiles ? 1 : 0);
    tile.prefetch = 2 * t * first.k < lines ? next_b + 32 * t * first.k : nullptr;
    kernel_of(here, vectors)(tile);
    tile.a += here * tile.a_pitch;
    tile.c += here * tile.c_pitch;
  }
}

}  // namespace brigade::host
