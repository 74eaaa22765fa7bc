// The gradient by the weights of a 3 x 3 convolution with stride 1 by Winograd's minimal filtering: the transpose of
// y = A' [(G w G') * (B' x B)] A by w (winograd.hpp, tiles of 4 x 4 pixels of dy),
//
//     V = B' x B       of each tile's inputs, 6 x 6 places, overlapping by 2
//     Z = A dy A'      of its 4 x 4 pixels of dy, at the same places
//     S = sum over tiles V[c] Z[k]    at each place a product [channels][tiles] x [tiles][columns]
//     dw = G' S G      3 x 3 taps, once at the end
//
// which multiplies 36 times a tile, where direct sums do 144 times less those of the taps outside of the image.
//
// Loop nest, outermost first:
//   pieces      slices of the tiles x blocks of columns x blocks of channels, over the threads: S of a block stays in
//               the second-level cache. Each slice has its own partial dw; they are added in order
//   chunks      of tiles: V and Z of the block's channels and columns are made, into the same cache
//   places, panels of columns, groups of channels, tiles of S in registers (gradient_kernel.hpp)
// A channel's V is made once for each block of columns, a column's Z once for each of channels.
//
// x and dy in bf16 are widened as V and Z are made of them; all else is float.
//
// Pieces follow from the shape alone: the same bits for any number of threads. Sums of noise are wrong by 2e-7 of the
// sum of their terms' absolute values, where direct sums are by 1e-7.
#pragma once

#include "host_backend.hpp"
#include "weight_gradient.hpp"

namespace brigade::host {

// Whether a gradient from such activations that sums over so many images and pixels of dy is made so. It is a sum over
// all images: with other images it has other bits anyway.
bool winograd_gradient_pays(DType type, std::int64_t images, std::int64_t height, std::int64_t width,
                            std::int64_t channels, std::int64_t columns);

// The taps are 3 x 3 one after the other, [y][x], with stride 1; x needs no normalising.
void add_up_by_winograd(HostBackend& backend, const WeightGradient<float>& gradient);
void add_up_by_winograd(HostBackend& backend, const WeightGradient<Bf16>& gradient);

}  // namespace brigade::host
