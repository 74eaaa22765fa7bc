// The kernels of depthwise convolution. Channels are contiguous and never meet, so every product is one of registers,
// and the arithmetic is little (9 FMAs for a 3 x 3 kernel): what counts is that memory is read in long streams, once.
//
// Loops: output row -> block of pixels -> registers of channels. A block of kPixels outputs shares its inputs: with 3
// taps and step 1, a row of the window costs 6 loads for 12 FMAs. (Windows of 3 rows with step 1 take 7 pixels at a
// time.) All pixels are found through a table of pointers; those outside of the image point to zeros. Rows wanted next
// are asked for into the second-level cache. Activations (T) are floats or bf16, widened as they are loaded and rounded
// as they are stored; weights, their gradient and all sums are floats.
#pragma once

#include <cstdint>

#include "brigade/core/bf16.hpp"
#include "brigade/ops/activation.hpp"

namespace brigade::host {

// Sums along one output row:  out[j] = act(bias + sum over rows r, taps t of in[r][j * step + first + t] * w[r][t]).
// The gradient by the input is such a sum, too, over dy.
template <class T>
struct DepthwiseSums {
  std::int64_t channels = 0;
  // input rows that the window meets
  int n_rows = 0;
  const T* const* rows = nullptr;         // [row]: its pixel 0
  const float* const* weights = nullptr;  // [row]: [taps][channels]
  int taps = 0, step = 1;
  std::int64_t first = 0;             // the first tap of output 0; negative in the padding
  std::int64_t width = 0, pixel = 0;  // of a row, in pixels; distance between pixels in elements
  const T* zeros = nullptr;           // [channels]
  const T* next = nullptr;            // rows wanted soon: pixel 0, how many, distance in elements
  int n_next = 0;
  std::int64_t next_row = 0;
  // output
  const float* bias = nullptr;  // [channels], or null
  T* out = nullptr;
  std::int64_t out_width = 0, out_pixel = 0;
  bool streaming = false;     // store past the caches; needs whole registers, aligned to them
  const T** table = nullptr;  // scratch: depthwise_table_size() pointers
};

inline constexpr int kDepthwisePixels = 4;
constexpr std::int64_t depthwise_table_size(int rows, int taps, int step) {
  return std::int64_t{rows} * ((kDepthwisePixels - 1) * step + taps);
}

// Writes outputs [begin, end).
template <class T>
using DepthwiseSumsKernel = void (*)(const DepthwiseSums<T>&, std::int64_t begin, std::int64_t end);
template <class T>
DepthwiseSumsKernel<T> depthwise_sums_kernel(ops::Activation activation, int taps, int step);

// The gradient of the weights by one output row:  dw[r][t] += sum over j of in[r][j * step + first + t] * dy[j].
template <class T>
struct DepthwiseProducts {
  std::int64_t channels = 0;
  int n_rows = 0;
  const T* const* rows = nullptr;  // [row]: its pixel 0; null: outside of the image
  int taps = 0, step = 1;
  std::int64_t first = 0;
  std::int64_t width = 0, pixel = 0;
  const T* zeros = nullptr;
  const T* next = nullptr;
  int n_next = 0;
  std::int64_t next_row = 0;
  const T* dy = nullptr;
  const T* next_dy = nullptr;  // wanted soon
  std::int64_t dy_width = 0, dy_pixel = 0;
  float* dw = nullptr;  // [rows][taps][channels]
};

inline constexpr int kDepthwiseGradientPixels = 7;

template <class T>
using DepthwiseProductsKernel = void (*)(const DepthwiseProducts<T>&);
template <class T>
DepthwiseProductsKernel<T> depthwise_products_kernel(int rows, int taps, int step);

}  // namespace brigade::host
