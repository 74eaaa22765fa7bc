// The micro-kernel of the weight gradient: one tile of dw, all of it in registers, while pixels pass.
//
//     D[rows][vectors] (+)= sum over pixels p of x[p][row] * dy[p][vectors]
//
// A row is one channel of one tap. x is packed such that a tile reads few cache lines, one after the other. In bf16 a
// step is a pair of pixels (pairs.hpp): dy is the row of B that is loaded, x what is broadcast.
#pragma once

#include <cstdint>

#include "ceil_div.hpp"
#include "pairs.hpp"
#include "panels.hpp"

namespace brigade::host {

struct GradientArgs {
  const float* x = nullptr;  // of the first step; the tile's rows are contiguous
  std::int64_t x_step = 0;   // from step to step
  const float* dy = nullptr;
  const std::int32_t* dy_offsets = nullptr;  // [step], in floats
  int n_steps = 0;
  float* dw = nullptr;  // [rows][dw_pitch]
  std::int64_t dw_pitch = 0;
  const float* next_dw = nullptr;   // the tile wanted next, fetched meanwhile
  const void* prefetch = nullptr;   // asked for, one line a step, so many bytes apart; any address that is mapped
  std::int64_t prefetch_step = 0;
  int last_lanes = kLanes;  // of dw's last vector; dy's is whole
  bool accumulate = false;
};

using GradientKernel = void (*)(const GradientArgs&);

// Rows of the highest tile. No pointer belongs to a row here, which leaves room for more than in tile_rows(): a 5 x 5
// kernel of one channel by two vectors is two tiles, a group of 16 channels by one vector a single one.
constexpr int gradient_rows(int vectors) {
  if (kRegisters == 32 && vectors <= 2) return vectors == 1 ? 16 : 13;
  return tile_rows(vectors);
}

// 1 <= rows <= gradient_rows(vectors).
GradientKernel gradient_kernel(Factors factors, int rows, int vectors);

// A group of `rows` rows, dealt to tiles evenly: 16 in tiles of at most 6 are 6 5 5. `args` are those of the first
// tile; `rows_of_dw` follow in memory from there on, the group's and those wanted next. before(args) may choose what
// each tile prefetches.
template <class Before>
void gradient_product(Factors factors, GradientArgs args, std::int64_t rows, std::int64_t rows_of_dw, int vectors,
                      const Before& before) {
  const std::int64_t tiles = ceil_div(rows, gradient_rows(vectors));
  for (std::int64_t tile = 0, row = 0; tile < tiles; ++tile) {
    const std::int64_t n = rows / tiles + (tile < rows % tiles ? 1 : 0);
    args.next_dw = row + 2 * n <= rows_of_dw ? args.dw + n * args.dw_pitch : args.dw;
    before(args);
    gradient_kernel(factors, static_cast<int>(n), vectors)(args);
    args.x += n;
    args.dw += n * args.dw_pitch;
    row += n;
  }
}

}  // namespace brigade::host
