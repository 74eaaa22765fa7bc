// The implicit matrix product behind convolution, its gradient by the input, and dense layers.
//
//     out[n, y, x, :] = act(bias + sum over taps t of in[n, y*stride_y + t.y, x*stride_x + t.x, :] * B[t])
//
// with zeros outside of `in`. The gradient by the input is the same sum over the output's gradient with transposed
// weights; a dense layer is a convolution of N images of one pixel.
//
// Loop nest, outermost first:
//   parts         blocks of output pixels x groups of panels, over the threads
//   K-blocks      taps (or channels of one tap) such that a panel's weights stay in a cache
//   panels        of output columns
//   tiles         of output pixels                          -> tile_kernel.hpp
// Pixels are numbered [y][x][n] on small maps, so that a tile's pixels share their border: taps that fall outside for
// a whole tile are skipped. A tile holds the same pixels, and adds them in the same order, for any number of threads.
//
// Batch norms before and after a convolution cost no pass over memory of their own: a block's rows of `in` are
// normalised into the cache that they would be read into anyway, and the moments of `out` are taken from the registers
// that are stored, for groups of tiles that follow from the shape.
#pragma once

#include <cstdint>
#include <span>

#include "host_backend.hpp"
#include "normalise.hpp"
#include "panels.hpp"

namespace brigade::host {

// An activation in memory: [image][row][pixel][channels], distances in floats.
template <class Float>
struct Images {
  Float* data = nullptr;
  std::int64_t height = 1, width = 1;
  std::int64_t image = 0, row = 0, pixel = 0;

  template <class View>
  static Images of(const View& view) {
    const Shape& s = view.shape;
    if (s.rank() == 2) return {view.f32(), 1, 1, view.pitch, view.pitch, view.pitch};
    return {view.f32(), s[1], s[2], s[1] * s[2] * view.pitch, s[2] * view.pitch, view.pitch};
  }
};

struct Tap {
  int y = 0, x = 0;
};

struct Product {
  Images<const float> in;
  Images<float> out;
  std::int64_t images = 0;
  int stride_y = 1, stride_x = 1;
  std::span<const Tap> taps;
  bool padded = false;  // no tap ever falls outside of the memory of `in`
  std::int64_t channels = 0;
  std::int64_t columns = 0;
  Weights weights;
  const float* bias = nullptr;  // [columns padded to whole registers], or null
  ops::Activation activation = ops::Activation::none;
  Normaliser of_in = {};                       // applied to `in`; only with one tap and `padded`
  float *mean = nullptr, *variance = nullptr;  // [columns], of out, or null; only without an activation

  std::int64_t pixels() const { return images * out.height * out.width; }
};

void multiply(HostBackend& backend, const Product& product);

}  // namespace brigade::host
