// The micro-kernel of the implicit matrix product: one tile of output, all of it in registers.
//
//     C[rows][vectors] (+)= sum over taps t, channels k of A[row, t][k] * B[t][k][vectors]
//
// A row of A is an output pixel; for a tap it reads the contiguous channels of one input pixel. For each k the kernel
// loads `vectors` registers of B, broadcasts one float of every row, and issues rows * vectors FMAs: with AVX-512 a
// tile of 6 x 4 registers needs 10 loads for 24 FMAs, which leaves the FMA units as the only limit.
//
// Nothing is copied for a convolution: rows are found through pointers, of which there are two kinds.
//   by_offset    every row has one pointer, every tap one offset that is the same for all rows (no row is at the
//                border, the input is padded, or there is one tap only);
//   by_pointer   a pointer for each tap and row; what lies outside of the image points to zeros.
//
// The sum of an output element runs over taps and channels in ascending order, whatever the blocking around the kernel.
//
// The element of A and B is one float, or a pair of neighbouring channels in bf16 (pairs.hpp): pointers and strides are
// the same, and the sums are floats either way.
#pragma once

#include <cstdint>

#include "brigade/ops/activation.hpp"
#include "moments.hpp"
#include "pairs.hpp"
#include "panels.hpp"

namespace brigade::host {

enum class RowKind { by_offset, by_pointer };

struct TileArgs {
  // A
  const float* const* rows = nullptr;     // by_offset: [row]; by_pointer: [tap][row]
  const std::int64_t* offsets = nullptr;  // by_offset: [tap], in floats
  const std::int32_t* taps = nullptr;     // by_pointer: [tap], which tap of B it meets; by_offset: consecutive
  int first_tap = 0;                      // by_offset: the first of them
  int n_taps = 0;
  int n_channels = 0;              // k steps per tap (pairs count as one)
  std::int64_t first_channel = 0;  // of every row
  // B: tap 0, the first of these channels
  const float* b = nullptr;
  std::int64_t b_channel_step = 0, b_tap_step = 0;
  const float* prefetch = nullptr;  // what is wanted soon, from here on; null: nothing
  std::int64_t prefetch_step = 0;   // of it, in floats: asked for by each k step
  // C
  float* const* out = nullptr;                         // [row]
  Bf16* const* narrow_out = nullptr;                   // [row]: stored here instead, rounded; or null
  std::int64_t first_column = 0;                       // of every row
  int last_lanes = kLanes;                             // of the last vector
  bool accumulate = false;                             // C +=; else the sum begins with
  const float* bias = nullptr;                         // [vectors * kLanes], or null: 0
  ops::Activation activation = ops::Activation::none;  // applied at the store
  bool streaming = false;                              // store past the caches; needs whole vectors, aligned to them
  // The moments of C (moments.hpp), of what is stored without an activation; no shift: not wanted
  Moments moments = {};         // [vectors * kLanes]
  bool begins_moments = false;  // this is the first tile of their part, which also decides the shift
  int measured_rows = 0;        // of C: the first ones
};

using TileKernel = void (*)(const TileArgs&);

// The kernel for a tile of `rows` x `vectors`; rows is the height of tiles of the same product's widest panel.
TileKernel tile_kernel(Factors factors, RowKind kind, int rows, int vectors);

}  // namespace brigade::host
