// 3 x 3 convolutions with stride 1 by Winograd's minimal filtering, which multiplies 2.25 (tiles of 2 x 2 outputs) to 4
// times (4 x 4) less often than the direct sums:
//
//     V = B' x B    of each tile's inputs, (m + 2)^2 places, overlapping by 2
//     M = V U       at each place the product [tiles][channels] x [channels][columns] of winograd_kernel.hpp
//     y = A' M A    m^2 outputs
//
// with U = G w G', the weights (winograd_transform.hpp). The gradient by the input is the same sum over dy with
// transposed weights, turned round.
//
// Loop nest, outermost first (a block stays in the caches from x to y):
//   groups of columns   whose U fits into kWeightBytes, unless U is kept
//   blocks of tiles     x parts of the group's panels, over the threads: V of a block is made once, into L2
//   panels              of columns: M of a block and panel stays in L2, and is turned into y at once
//   places              of the transformed tile: U is read in one stream
// Beside U, which takes the place of packed weights, a thread needs about 2 MiB.
//
// Activations in bf16 are widened as V is made of them, which is exact, and rounded once, as y is stored; all between
// is float.
//
// Blocks follow from the shape alone, and an output's sum runs over channels in ascending order: the same bits for any
// number of threads. What batch norms ask for (conv_product.hpp) is done once per block and panel, from L2.
#pragma once

#include "conv_product.hpp"

namespace brigade::host {

// The weights, and how they are to be transformed.
struct WinogradFilter {
  int m = 0;  // outputs of a tile in each direction: 2 or 4
  std::int64_t channels = 0, columns = 0;
  const float* w = nullptr;  // [3][3][channels][columns]; transposed: [3][3][columns][channels], turned round
  bool transposed = false;
  ops::KeptWeights* kept = nullptr;  // of w; null: w may be another in the next call

  std::int64_t places() const { return std::int64_t{m + 2} * (m + 2); }
};

// Of activations in float or bf16.
template <class T>
struct WinogradConvolution {
  WinogradFilter filter = {};
  Images<const T> in = {};
  Images<T> out = {};
  std::int64_t images = 0;
  int pad_top = 0, pad_left = 0;  // out[y][x] reads in[y - pad_top ... + 2][x - pad_left ... + 2]
  const float* bias = nullptr;    // [columns padded to whole registers], or null
  ops::Activation activation = ops::Activation::none;
  float *mean = nullptr, *variance = nullptr;     // as in Product
  const ops::GradientThrough* through = nullptr;  // as in Product
  Normaliser of_through = {};

  std::int64_t pixels() const { return images * out.height * out.width; }
};

// The tile m of a 3 x 3 convolution with stride 1 of such activations that writes images of this size, or 0: the direct
// sums are quicker.
// Neither the number of images nor of threads matters, nor whether weights are kept, so that none of them changes a
// bit.
int winograd_tile(DType type, std::int64_t height, std::int64_t width, std::int64_t channels, std::int64_t columns);

void convolve(HostBackend& backend, const WinogradConvolution<float>& convolution);
void convolve(HostBackend& backend, const WinogradConvolution<Bf16>& convolution);

}  // namespace brigade::host
