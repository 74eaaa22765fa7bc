// The micro-kernel of the weight gradient: one tile of dw, all of it in registers, while pixels pass.
//
//     D[rows][vectors] (+)= sum over pixels p of x[p][row] * dy[p][vectors]
//
// A row is one channel of one tap. Mostly the rows of a tile are consecutive channels of the same tap; first layers
// have too few of them and mix taps, so that every row has an offset of its own: one more (scalar) load per row and
// pixel.
#pragma once

#include <cstdint>

#include "panels.hpp"

namespace brigade::host {

// Where a pixel's channels begin in x and in dy, in floats from the block's first.
struct PixelOffsets {
  std::int32_t x, dy;
};

struct GradientArgs {
  const float* x = nullptr;
  const float* dy = nullptr;
  const PixelOffsets* pixels = nullptr;
  int n_pixels = 0;
  const std::int32_t* row_offsets = nullptr;  // scattered: [rows], from a pixel's x
  float* dw = nullptr;                        // [rows][dw_pitch]
  std::int64_t dw_pitch = 0;
  const float* prefetch = nullptr;  // asked for, a line per pixel; null: nothing
  std::int64_t prefetch_step = 0;
  int last_lanes = kLanes;  // of dw's last vector; dy's is whole
  bool accumulate = false;
};

using GradientKernel = void (*)(const GradientArgs&);

enum class ChannelRows { consecutive, scattered };

// Rows of the highest tile. No pointer belongs to a row here, so two vectors leave room for one row more than in
// tile_rows(): a 5 x 5 kernel of one channel is two tiles.
constexpr int gradient_rows(int vectors) { return kRegisters == 32 && vectors == 2 ? 13 : tile_rows(vectors); }

// 1 <= rows <= gradient_rows(vectors).
GradientKernel gradient_kernel(ChannelRows kind, int rows, int vectors);

}  // namespace brigade::host
