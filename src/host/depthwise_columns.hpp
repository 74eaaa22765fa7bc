// Depthwise convolution by a 3 x 3 kernel with stride 1, down columns: 7 neighbouring pixels of a row, a register of
// channels each, move down the image one row after the other. Every input is loaded once and multiplied into the sums
// of the three output rows that it belongs to (21 registers, beside 9 of weights), so the loads, which limit the sums
// along a row (depthwise_kernel.hpp), are a seventh of the FMAs. (With stride 2, where a load serves fewer sums, rows
// are quicker.)
//
// A sum begins with the bias and runs over taps in ascending order, as along a row: the same bits.
#pragma once

#include <cstdint>

#include "conv_product.hpp"

namespace brigade::host {

inline constexpr int kColumnPixels = 7;

template <class T>
struct DepthwiseColumns {
  const ops::DepthwiseConv2d& op;
  Images<const T> x;
  Images<T> y;
  const float *w = nullptr, *bias = nullptr;  // [3][3][channels]; [channels] or null
};

// Whether the kernel takes a convolution that writes rows of this many pixels, and the processor has the registers.
bool sums_in_columns(const ops::DepthwiseConv2d& op, std::int64_t out_width);

// Writes the rows [first, end) of an image of y.
template <class T>
void sum_columns(const DepthwiseColumns<T>& s, std::int64_t image, std::int64_t first, std::int64_t end);

}  // namespace brigade::host
