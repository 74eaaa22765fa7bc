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
// that are stored, for groups of tiles that follow from the shape. A gradient is taken through the batch norm before it
// from a block's own memory, which stays in the second-level cache; so is one that has other shares finished. And `in`
// itself may be made by the block that reads it first.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "host_backend.hpp"
#include "normalise.hpp"
#include "panels.hpp"
#include "pixel_maker.hpp"

namespace brigade::host {

// An activation in memory: [image][row][pixel][channels], distances in elements.
template <class T>
struct Images {
  T* data = nullptr;
  std::int64_t height = 1, width = 1;
  std::int64_t image = 0, row = 0, pixel = 0;

  template <class View>
  static Images of(const View& view) {
    const Shape& s = view.shape;
    T* data = view.template as<std::remove_const_t<T>>();
    if (s.rank() == 2) return {data, 1, 1, view.pitch, view.pitch, view.pitch};
    return {data, s[1], s[2], s[1] * s[2] * view.pitch, s[2] * view.pitch, view.pitch};
  }
};

struct Tap {
  int y = 0, x = 0;
};

struct Product {
  Factors factors = Factors::floats;
  Images<const float> in = {};  // its channels, distances included, are counted in pairs if the factors are
  Images<float> out = {};
  Images<Bf16> narrow_out = {};  // instead of out, if it has data
  std::int64_t images = 0;
  int stride_y = 1, stride_x = 1;
  std::span<const Tap> taps = {};
  bool padded = false;  // no tap ever falls outside of the memory of `in`
  std::int64_t channels = 0;
  std::int64_t columns = 0;
  Weights weights = {};
  const float* bias = nullptr;  // [columns padded to whole registers], or null
  ops::Activation activation = ops::Activation::none;
  Normaliser of_in = {};                       // applied to `in`; only with one tap and `padded`
  const PixelMaker* made_in = nullptr;         // writes `in`; the same holds, and `in` has the extents of out
  float *mean = nullptr, *variance = nullptr;  // [columns], of out, or null; only without an activation
  // Out is written as the gradient of the batch norm's x that `through` leads to; only with stride 1, and neither bias,
  // activation nor moments. Null: as it is.
  const ops::GradientThrough* through = nullptr;
  Normaliser of_through = {};
  // Or out is the gradient of `shared_x`, which it finishes; the same holds. Null: it is no such.
  // With a shared stride, out is those pixels of the gradient that the product has a share in, and finishes all.
  const ops::SharedGradient* shared = nullptr;
  ConstTensorView shared_x = {};
  int shared_stride_y = 1, shared_stride_x = 1;
  std::int64_t shared_pitch = 0;  // between two pixels of the gradient

  // Whether the sums of a block are its own, to be finished from there.
  bool finishes() const { return through != nullptr || shared != nullptr; }
  // Batch norms whose sums are taken meanwhile.
  std::size_t gradient_sums() const {
    if (shared == nullptr) return through == nullptr ? 0 : 1;
    return (shared->norms[0] ? 1U : 0U) + (shared->norms[1] ? 1U : 0U);
  }
  void set_out(const Images<float>& images_out) { out = images_out; }
  void set_out(const Images<Bf16>& images_out) { narrow_out = images_out; }
  // Extents of the output, in pixels.
  std::int64_t height() const { return narrow_out.data == nullptr ? out.height : narrow_out.height; }
  std::int64_t width() const { return narrow_out.data == nullptr ? out.width : narrow_out.width; }
  std::int64_t pixels() const { return images * height() * width(); }
};

void multiply(HostBackend& backend, const Product& product);

// The same memory, counted in pairs.
inline Images<const float> halved(const Images<const Bf16>& x) {
  return {reinterpret_cast<const float*>(x.data), x.height, x.width, x.image / 2, x.row / 2, x.pixel / 2};
}

// Whether every pixel begins and ends with a whole pair of channels.
bool whole_pairs(const Images<const Bf16>& x, std::int64_t channels);

// Images of this shape ([N, H, W, C] or [N, C]) counted in pairs of channels: where they lie, if they are whole, else a
// normalised copy with a zero beside the last channel, in the scratch for packed inputs.
Images<const float> in_pairs(HostBackend& backend, const Images<const Bf16>& x, const Shape& shape,
                             const Normaliser& of_x = {});

}  // namespace brigade::host
