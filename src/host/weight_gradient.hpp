// The gradient of a convolution by its weights:
//
//     dw[t, c, k] = sum over output pixels p of x[p, t][c] * dy[p][k]
//
// where x[p, t] is the input pixel that tap t sees from p. A dense layer is one tap, and its rows are the pixels.
//
// A tile of dw, some channels c of one tap by one panel of k, stays in registers while pixels pass: each brings
// `vectors` registers of dy and one broadcast per channel, the same loads per FMA as the forward tile. Only the pixels
// whose tap lies inside of the image are visited, so padding costs nothing.
//
// Read where it stands, x would cost a cache line per pixel and tile, and lines a power of two apart meet in the same
// few sets. So it is packed in groups of 16 channels of one tap, [group][pixel][16] (and normalised on the way, if
// asked for): one load and store for the 64 FMAs of each panel.
//
// In bf16 the sum runs over pairs of pixels (pairs.hpp), neighbours in the order of dy from the start of a block on;
// one that a tap does not see, or that a block lacks, counts as zero. So pixels are packed by pairs, x as
// [group][pair][16], and to all else a pair is what a pixel is to floats: a step.
//
// Loop nest, outermost first:
//   slices        of pixels, their number given by the shape alone; each has its own partial dw, added in order
//   threads       each takes an equal run of (slice, panel, group): a sum is never cut by the number of threads
//   packed pixels a few blocks, which the second cache holds
//   chunks        of groups: x is packed
//   panels
//   blocks        of pixels, whose dy, packed by panel, stays in the first cache
//   groups, tiles of dw
#pragma once

#include <cstdint>
#include <span>

#include "conv_product.hpp"
#include "host_backend.hpp"

namespace brigade::host {

template <class T>
struct WeightGradient {
  Images<const T> x;
  Images<const T> dy;
  std::int64_t images = 0;
  int stride_y = 1, stride_x = 1;
  std::span<const Tap> taps;
  std::int64_t channels = 0, columns = 0;
  // Few channels (first layers) make poor tiles: then all taps' channels count as one row. Needs an x that no tap
  // leaves.
  bool mix_taps = false;
  Normaliser of_x = {};  // applied to x; only with one tap that never leaves the image
  float* dw = nullptr;   // [taps][channels][columns]

  std::int64_t pixels() const { return images * dy.height * dy.width; }
};

void add_up(HostBackend& backend, const WeightGradient<float>& gradient);
void add_up(HostBackend& backend, const WeightGradient<Bf16>& gradient);

}  // namespace brigade::host
