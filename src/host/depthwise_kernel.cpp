#include "depthwise_kernel.hpp"

#include "activation.hpp"

namespace brigade::host {
namespace {

// Pointers to pixels [first, first + n) of a row; zeros stand for those outside of it.
template <class T>
[[gnu::always_inline]] inline void point_to_pixels(const T* row, std::int64_t first, int n, std::int64_t width,
                                                   std::int64_t pixel, const T* zeros, const T** to) {
  if (row != nullptr && first >= 0 && first + n <= width) {
    const T* p = row + first * pixel;
#pragma GCC unroll 16
    for (int q = 0; q < n; ++q, p += pixel) to[q] = p;
    return;
  }
  for (int q = 0; q < n; ++q) {
    const bool inside = row != nullptr && first + q >= 0 && first + q < width;
    to[q] = inside ? row + (first + q) * pixel : zeros;
  }
}

// Most rows of most networks: a window of three rows, whose width is a multiple of 7.
constexpr int kWideRows = 3, kWidePixels = 7;

// Whether register c of a pixel begins a cache line of it.
template <class T>
[[gnu::always_inline]] inline bool begins_line(std::int64_t c) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  return kLanes == kLine || c % kLine == 0;
}

template <int kBlock, int kStep, template <class> class Row, class T>
[[gnu::always_inline]] inline void prefetch(const Row<T>& s, std::int64_t j, std::int64_t c) {
  if (!begins_line<T>(c)) return;
  if constexpr (kStep > 0)
    for (int k = 0; k < s.n_next; ++k) {
      const T* soon = s.next + k * s.next_row + j * kStep * s.pixel + c;
#pragma GCC unroll 16
      for (int b = 0; b < kBlock * kStep; ++b) __builtin_prefetch(soon + b * s.pixel, 0, 2);
    }
}

// Adds the products of one input row, found through its pointers.
template <int kTaps, int kStep, class T, class Lanes>
[[gnu::always_inline]] inline void add_row(const DepthwiseSums<T>& s, const T* const* in, const float* w,
                                           std::int64_t c, Lanes lanes, Vec (&sum)[kDepthwisePixels]) {
  constexpr int kBlock = kDepthwisePixels;
  if constexpr (kTaps > 0) {
    constexpr int kIn = (kBlock - 1) * kStep + kTaps;
    Vec x[kIn];
#pragma GCC unroll 16
    for (int q = 0; q < kIn; ++q) x[q] = lanes.load(in[q] + c);
#pragma GCC unroll 4
    for (int t = 0; t < kTaps; ++t) {
      const Vec weight = lanes.load(w + t * s.channels + c);
#pragma GCC unroll 4
      for (int b = 0; b < kBlock; ++b) sum[b] = fused_multiply_add(sum[b], x[b * kStep + t], weight);
    }
  } else {
    for (int t = 0; t < s.taps; ++t) {
      const Vec weight = lanes.load(w + t * s.channels + c);
#pragma GCC unroll 4
      for (int b = 0; b < kBlock; ++b) sum[b] = fused_multiply_add(sum[b], lanes.load(in[b * s.step + t] + c), weight);
    }
  }
}

// Writes one register of a block of pixels.
template <ops::Activation kBy, int kTaps, int kStep, class T, class Lanes>
[[gnu::always_inline]] inline void sum_block(const DepthwiseSums<T>& s, const T* const* table, int n_in, std::int64_t c,
                                             Lanes lanes, T* out, std::int64_t n_out) {
  constexpr int kBlock = kDepthwisePixels;
  Vec sum[kBlock];
  const Vec start = s.bias == nullptr ? Vec{} : lanes.load(s.bias + c);
#pragma GCC unroll 4
  for (int b = 0; b < kBlock; ++b) sum[b] = start;
  if (kTaps == 3 && s.n_rows == 3) {  // most rows of most networks
#pragma GCC unroll 4
    for (int r = 0; r < 3; ++r) add_row<kTaps, kStep>(s, table + r * n_in, s.weights[r], c, lanes, sum);
  } else {
    for (int r = 0; r < s.n_rows; ++r) add_row<kTaps, kStep>(s, table + r * n_in, s.weights[r], c, lanes, sum);
  }
#pragma GCC unroll 4
  for (int b = 0; b < kBlock; ++b) {
    if (b >= n_out) break;
    const Vec y = activate<kBy>(sum[b]);
    if (s.streaming)
      store_streaming(out + b * s.out_pixel + c, y);
    else
      lanes.store(out + b * s.out_pixel + c, y);
  }
}

// A block of kWidePixels outputs, all of them inside of the row: by step 1, where it needs little more input than
// output.
template <class T, ops::Activation kBy, int kTaps>
[[gnu::noinline]] void sum_wide_block(const DepthwiseSums<T>& row, std::int64_t j) {
  constexpr int kBlock = kWidePixels, kIn = kBlock - 1 + kTaps;
  const DepthwiseSums<T> s = row;  // a copy: no store of results can change it, for all the compiler knows
  const T* in[kWideRows * kIn];
  const float* w[kWideRows];
  for (int r = 0; r < s.n_rows; ++r) {
    point_to_pixels(s.rows[r], j + s.first, kIn, s.width, s.pixel, s.zeros, in + r * kIn);
    w[r] = s.weights[r];
  }
  T* out = s.out + j * s.out_pixel;
  const auto block = [&](std::int64_t c, auto lanes) __attribute__((always_inline)) {
    if (s.n_next > 0) prefetch<kBlock, 1>(s, j, c);
    Vec sum[kBlock];
    const Vec start = s.bias == nullptr ? Vec{} : lanes.load(s.bias + c);
#pragma GCC unroll 16
    for (int b = 0; b < kBlock; ++b) sum[b] = start;
#pragma GCC unroll 4
    for (int r = 0; r < kWideRows; ++r) {
      if (r == s.n_rows) break;
      Vec weight[kTaps];
#pragma GCC unroll 4
      for (int t = 0; t < kTaps; ++t) weight[t] = lanes.load(w[r] + t * s.channels + c);
#pragma GCC unroll 16
      for (int q = 0; q < kIn; ++q) {
        const Vec x = lanes.load(in[r * kIn + q] + c);
#pragma GCC unroll 4
        for (int t = 0; t < kTaps; ++t)
          if (q >= t && q - t < kBlock) sum[q - t] = fused_multiply_add(sum[q - t], x, weight[t]);
      }
    }
#pragma GCC unroll 16
    for (int b = 0; b < kBlock; ++b) sum[b] = activate<kBy>(sum[b]);
    if (s.streaming) {
#pragma GCC unroll 16
      for (int b = 0; b < kBlock; ++b) store_streaming(out + b * s.out_pixel + c, sum[b]);
    } else {
#pragma GCC unroll 16
      for (int b = 0; b < kBlock; ++b) lanes.store(out + b * s.out_pixel + c, sum[b]);
    }
  };
  over_lanes(s.channels, block);
}

// Taps and step as constants share loads and stay in registers; zero stands for any.
template <class T, ops::Activation kBy, int kTaps, int kStep>
void sum_run(const DepthwiseSums<T>& row, std::int64_t begin, std::int64_t end) {
  const DepthwiseSums<T> s = row;  // a copy: no store of results can change it, for all the compiler knows
  constexpr int kBlock = kDepthwisePixels;
  const int step = kTaps > 0 ? kStep : s.step, n_in = (kBlock - 1) * step + (kTaps > 0 ? kTaps : s.taps);
  constexpr int kIn = (kBlock - 1) * kStep + kTaps;
  const T* few[kTaps > 0 ? 3 * kIn : 1];  // the table of most networks, where the compiler sees it
  const T** table = kTaps > 0 && s.n_rows <= 3 ? few : s.table;
  if constexpr (kTaps > 1 && kStep == 1 && kRegisters == 32)
    if (s.n_rows <= kWideRows)
      for (; end - begin >= kWidePixels; begin += kWidePixels) sum_wide_block<T, kBy, kTaps>(row, begin);
  for (std::int64_t j = begin; j < end; j += kBlock) {
    for (int r = 0; r < s.n_rows; ++r)
      point_to_pixels(s.rows[r], j * step + s.first, n_in, s.width, s.pixel, s.zeros, table + r * n_in);
    over_lanes(
        s.channels, [&](std::int64_t c, auto lanes) __attribute__((always_inline)) {
          prefetch<kBlock, kStep>(s, j, c);
          sum_block<kBy, kTaps, kStep>(s, table, n_in, c, lanes, s.out + j * s.out_pixel, end - j);
        });
  }
}

template <class T, ops::Activation kBy>
DepthwiseSumsKernel<T> sums_kernel(int taps, int step) {
  if (taps == 3 && step == 1) return sum_run<T, kBy, 3, 1>;
  if (taps == 3 && step == 2) return sum_run<T, kBy, 3, 2>;
  if (taps == 2 && step == 1) return sum_run<T, kBy, 2, 1>;
  if (taps == 1 && step == 1) return sum_run<T, kBy, 1, 1>;
  return sum_run<T, kBy, 0, 0>;
}

// The sums of a whole window stay in registers while a block of pixels is added; they rest in dw, in the first cache.
template <int kRows, int kTaps, int kStep, class T, class Lanes>
[[gnu::always_inline]] inline void multiply_block(const DepthwiseProducts<T>& s, const T* const* in,
                                                  const T* const* gradients, std::int64_t c, Lanes lanes) {
  constexpr int kBlock = kDepthwiseGradientPixels, kIn = (kBlock - 1) * kStep + kTaps;
  Vec sum[kRows * kTaps], dy[kBlock];
#pragma GCC unroll 16
  for (int t = 0; t < kRows * kTaps; ++t) sum[t] = lanes.load(s.dw + t * s.channels + c);
#pragma GCC unroll 16
  for (int b = 0; b < kBlock; ++b) dy[b] = lanes.load(gradients[b] + c);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int q = 0; q < kIn; ++q) {
      const Vec x = lanes.load(in[r * kIn + q] + c);
#pragma GCC unroll 4
      for (int t = 0; t < kTaps; ++t)
        if (q >= t && (q - t) % kStep == 0 && (q - t) / kStep < kBlock) sum[r * kTaps + t] += x * dy[(q - t) / kStep];
    }
#pragma GCC unroll 16
  for (int t = 0; t < kRows * kTaps; ++t) lanes.store(s.dw + t * s.channels + c, sum[t]);
}

template <class T, int kRows, int kTaps, int kStep>
void multiply_row(const DepthwiseProducts<T>& row) {
  const DepthwiseProducts<T> s = row;
  constexpr int kBlock = kDepthwiseGradientPixels, kIn = (kBlock - 1) * kStep + kTaps;
  const T* in[kRows * kIn];
  const T* gradients[kBlock];
  for (std::int64_t j = 0; j < s.dy_width; j += kBlock) {
    for (int r = 0; r < kRows; ++r)
      point_to_pixels(s.rows[r], j * kStep + s.first, kIn, s.width, s.pixel, s.zeros, in + r * kIn);
    point_to_pixels(s.dy, j, kBlock, s.dy_width, s.dy_pixel, s.zeros, gradients);
    over_lanes(
        s.channels, [&](std::int64_t c, auto lanes) __attribute__((always_inline)) {
          prefetch<kBlock, kStep>(s, j, c);
          if (begins_line<T>(c)) {
#pragma GCC unroll 16
            for (int b = 0; b < kBlock; ++b) __builtin_prefetch(s.next_dy + (j + b) * s.dy_pixel + c, 0, 2);
          }
          multiply_block<kRows, kTaps, kStep>(s, in, gradients, c, lanes);
        });
  }
}

// Any window: one weight at a time, over its pixels inside of the image.
template <class T>
void multiply_row_any(const DepthwiseProducts<T>& s) {
  for (int r = 0; r < s.n_rows; ++r) {
    if (s.rows[r] == nullptr) continue;
    for (std::int64_t j = 0; j < s.dy_width; j += kDepthwiseGradientPixels) {
      const std::int64_t end = std::min(s.dy_width, j + kDepthwiseGradientPixels);
      over_lanes(s.channels, [&](std::int64_t c, auto lanes) {
        for (int t = 0; t < s.taps; ++t) {
          float* dw = s.dw + (r * s.taps + t) * s.channels + c;
          Vec sum = lanes.load(dw);
          for (std::int64_t i = j; i < end; ++i) {
            const std::int64_t x = i * s.step + s.first + t;
            if (x >= 0 && x < s.width)
              sum += lanes.load(s.rows[r] + x * s.pixel + c) * lanes.load(s.dy + i * s.dy_pixel + c);
          }
          lanes.store(dw, sum);
        }
      });
    }
  }
}

}  // namespace

template <class T>
DepthwiseSumsKernel<T> depthwise_sums_kernel(ops::Activation activation, int taps, int step) {
  return with_activation(activation, [&](auto by) { return sums_kernel<T, by()>(taps, step); });
}
template DepthwiseSumsKernel<float> depthwise_sums_kernel(ops::Activation, int, int);
template DepthwiseSumsKernel<Bf16> depthwise_sums_kernel(ops::Activation, int, int);

template <class T>
DepthwiseProductsKernel<T> depthwise_products_kernel(int rows, int taps, int step) {
  if (rows == 3 && taps == 3 && step == 1) return multiply_row<T, 3, 3, 1>;
  if (rows == 3 && taps == 3 && step == 2) return multiply_row<T, 3, 3, 2>;
  return multiply_row_any<T>;
}
template DepthwiseProductsKernel<float> depthwise_products_kernel(int, int, int);
template DepthwiseProductsKernel<Bf16> depthwise_products_kernel(int, int, int);

}  // namespace brigade::host
