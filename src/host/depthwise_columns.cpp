#include "depthwise_columns.hpp"

#include <algorithm>

#include "activation.hpp"

namespace brigade::host {
namespace {

constexpr int kTaps = 3;
constexpr int kMet = kColumnPixels - 1 + kTaps;  // input pixels of a row that 7 outputs meet

// One column of 7 pixels: where it lies.
template <class T>
struct Column {
  const T* x;  // the first pixel that output 0 meets, of row 0
  std::int64_t x_pixel, x_row, height;
  bool no_first, no_last;  // the first (last) pixel that is met lies outside of the image
  T* y;                    // output 0 of row 0
  std::int64_t y_pixel, y_row;
  std::int64_t first, end;  // rows of y
  int pad_top;
  const float *w, *bias;
  std::int64_t channels;
};

// The sums of a row begin.
template <class Lanes>
[[gnu::always_inline]] inline void begin_row(const float* bias, Lanes lanes, Vec (&sum)[kColumnPixels]) {
  const Vec start = bias == nullptr ? Vec{} : lanes.load(bias);
#pragma GCC unroll 16
  for (int b = 0; b < kColumnPixels; ++b) sum[b] = start;
}

template <ops::Activation kBy, class T, class Lanes>
[[gnu::always_inline]] inline void store_row(T* y, std::int64_t pixel, Lanes lanes, const Vec (&sum)[kColumnPixels]) {
#pragma GCC unroll 16
  for (int b = 0; b < kColumnPixels; ++b) lanes.store(y + b * pixel, activate<kBy>(sum[b]));
}

// The products of pixel q, met by the taps [3] of one row of the kernel.
[[gnu::always_inline]] inline void add_pixel(int q, Vec x, const Vec (&w)[kTaps], Vec (&sum)[kColumnPixels]) {
#pragma GCC unroll 4
  for (int t = 0; t < kTaps; ++t)
    if (q >= t && q - t < kColumnPixels) sum[q - t] = fused_multiply_add(sum[q - t], x, w[t]);
}

// Calls take(q, pixel q) for the pixels that a row of outputs meets, and asks for those of a row below.
template <class T, class Lanes, class Take>
[[gnu::always_inline]] inline void over_pixels(const Column<T>& s, const T* row, std::int64_t below, Lanes lanes,
                                               const Take& take) {
#pragma GCC unroll 16
  for (int q = 0; q < kMet; ++q, row += s.x_pixel) {
    if ((q == 0 && s.no_first) || (q == kMet - 1 && s.no_last)) continue;
    __builtin_prefetch(row + below, 0, 2);
    take(q, lanes.load(row));
  }
}

// Rows ahead that are asked for: they come from the third-level cache in about that time.
constexpr std::int64_t kRowsAhead = 4;

// An input row belongs to three output rows, and completes the first of them.
template <ops::Activation kBy, class T, class Lanes>
void sum_down(const Column<T>& column, std::int64_t c, Lanes lanes) {
  const Column<T> s = column;  // a copy: no store of results can change it, for all the compiler knows
  Vec w[kTaps][kTaps];
#pragma GCC unroll 4
  for (int ky = 0; ky < kTaps; ++ky)
#pragma GCC unroll 4
    for (int kx = 0; kx < kTaps; ++kx) w[ky][kx] = lanes.load(s.w + (ky * kTaps + kx) * s.channels + c);
  const float* bias = s.bias == nullptr ? nullptr : s.bias + c;
  Vec above[kColumnPixels], here[kColumnPixels], below[kColumnPixels];
  begin_row(bias, lanes, above);
  begin_row(bias, lanes, here);
  for (std::int64_t oy = s.first - 2; oy < s.end; ++oy) {  // `above` is row oy of y
    begin_row(bias, lanes, below);
    const std::int64_t iy = oy + 2 - s.pad_top;
    if (iy >= 0 && iy < s.height)
      over_pixels(
          s, s.x + iy * s.x_row + c, std::min(kRowsAhead, s.height - 1 - iy) * s.x_row,
          lanes, [&](int q, Vec x) __attribute__((always_inline)) {
            add_pixel(q, x, w[2], above);
            add_pixel(q, x, w[1], here);
            add_pixel(q, x, w[0], below);
          });
    if (oy >= s.first) store_row<kBy>(s.y + oy * s.y_row + c, s.y_pixel, lanes, above);
#pragma GCC unroll 16
    for (int b = 0; b < kColumnPixels; ++b) above[b] = here[b], here[b] = below[b];
  }
}

}  // namespace

bool sums_in_columns(const ops::DepthwiseConv2d& op, std::int64_t out_width) {
  return kRegisters == 32 && op.kernel_h == kTaps && op.kernel_w == kTaps && op.stride_h == 1 && op.stride_w == 1 &&
         op.pad_left <= 1 && op.pad_right <= 1 && op.pad_top <= 1 && out_width % kColumnPixels == 0;
}

template <class T>
void sum_columns(const DepthwiseColumns<T>& s, std::int64_t image, std::int64_t first, std::int64_t end) {
  for (std::int64_t j = 0; j < s.y.width; j += kColumnPixels) {
    const std::int64_t ix = j - s.op.pad_left;
    const Column<T> column{.x = s.x.data + image * s.x.image + ix * s.x.pixel,
                           .x_pixel = s.x.pixel,
                           .x_row = s.x.row,
                           .height = s.x.height,
                           .no_first = (ix < 0),
                           .no_last = (ix + kMet > s.x.width),
                           .y = s.y.data + image * s.y.image + j * s.y.pixel,
                           .y_pixel = s.y.pixel,
                           .y_row = s.y.row,
                           .first = first,
                           .end = end,
                           .pad_top = s.op.pad_top,
                           .w = s.w,
                           .bias = s.bias,
                           .channels = s.op.channels};
    with_activation(s.op.activation, [&](auto by) {
      over_lanes(s.op.channels, [&](std::int64_t c, auto lanes) { sum_down<by()>(column, c, lanes); });
    });
  }
}
template void sum_columns(const DepthwiseColumns<float>&, std::int64_t, std::int64_t, std::int64_t);
template void sum_columns(const DepthwiseColumns<Bf16>&, std::int64_t, std::int64_t, std::int64_t);

}  // namespace brigade::host
