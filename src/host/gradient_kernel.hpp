// The micro-kernel of the weight gradient: one tile of dw, all of it in registers, while pixels pass.
//
//     D[rows][vectors] (+)= sum over pixels p of x[p][row] * dy[p][vectors]
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
  float* dw = nullptr;  // [rows][dw_pitch]
  std::int64_t dw_pitch = 0;
  int last_lanes = kLanes;  // of dw's last vector; dy's is whole
  bool accumulate = false;
};

using GradientKernel = void (*)(const GradientArgs&);

// 1 <= rows <= tile_rows(vectors).
GradientKernel gradient_kernel(int rows, int vectors);

}  // namespace brigade::host
