// The products in the middle of a Winograd convolution: at each of the transformed tile's places a small matrix
// product of its own,
//
//     C[row][column] = sum over k of A[row][k] * B[k][column]
//
// rows being tiles, k input channels, and columns those of one panel of weights. As in tile_kernel.hpp all of a tile of
// C is in registers; but rows lie at a constant distance, and there may be any number of them, because a batch of one
// has only few (16 tiles on a 14 x 14 map, which 6 + 5 + 5 rows waste nothing on).
#pragma once

#include <cstdint>

namespace brigade::host {

struct WinogradTile {
  const float* a = nullptr;
  std::int64_t a_pitch = 0;
  const float* b = nullptr;  // [k][vectors * kLanes]
  std::int64_t k = 0;
  float* c = nullptr;  // written
  std::int64_t c_pitch = 0;
  const float* prefetch = nullptr;  // Two cache lines per k step from here on are wanted soon; null: none
};

// C for `rows` rows and a panel of `vectors` registers; in tiles of nearly as many rows each. `next_b` are the weights
// that the next call multiplies by: they are fetched into the second-level cache meanwhile. May point past their end.
void winograd_product(const WinogradTile& first, std::int64_t rows, int vectors, const float* next_b);

}  // namespace brigade::host
