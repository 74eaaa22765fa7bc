#include "depthwise_kernel.hpp"

#include "activation.hpp"

namespace brigade::host {
namespace {

// Pointers to pixels [first, first + n) of a row; zeros stand for those outside of it.
inline void point_to_pixels(const float* row, std::int64_t first, int n, std::int64_t width, std::int64_t pixel,
                            const float* zeros, const float** to) {
  if (row != nullptr && first >= 0 && first + n <= width) {
    for (int q = 0; q < n; ++q) to[q] = row + (first + q) * pixel;
    return;
  }
  for (int q = 0; q < n; ++q) {
    const bool inside = row != nullptr && first + q >= 0 && first + q < width;
    to[q] = inside ? row + (first + q) * pixel : zeros;
  }
}

template <int kBlock, int kStep, class Row>
[[gnu::always_inline]] inline void prefetch(const Row& s, std::int64_t j, std::int64_t c) {
  if constexpr (kStep > 0)
    for (int k = 0; k < s.n_next; ++k) {
      const float* soon = s.next + k * s.next_row + j * kStep * s.pixel + c;
#pragma GCC unroll 16
      for (int b = 0; b < kBlock * kStep; ++b) __builtin_prefetch(soon + b * s.pixel, 0, 2);
    }
}

// Taps and step as constants share loads and stay in registers; zero stands for any.
template <ops::Activation kBy, int kTaps, int kStep>
void sum_block(const DepthwiseSums& s, std::int64_t j) {
  constexpr int kBlock = kDepthwisePixels;
  const int taps = kTaps > 0 ? kTaps : s.taps, step = kTaps > 0 ? kStep : s.step;
  const int n_in = (kBlock - 1) * step + taps;
  for (int r = 0; r < s.n_rows; ++r)
    point_to_pixels(s.rows[r], j * step + s.first, n_in, s.width, s.pixel, s.zeros, s.table + r * n_in);
  const std::int64_t n_out = std::min<std::int64_t>(kBlock, s.out_width - j);
  float* out = s.out + j * s.out_pixel;

  over_lanes(s.channels, [&](std::int64_t c, auto lanes) {
    Vec sum[kBlock];
    const Vec start = s.bias == nullptr ? Vec{} : lanes.load(s.bias + c);
#pragma GCC unroll 4
    for (int b = 0; b < kBlock; ++b) sum[b] = start;
    prefetch<kBlock, kStep>(s, j, c);
    for (int r = 0; r < s.n_rows; ++r) {
      const float* const* in = s.table + r * n_in;
      const float* w = s.weights[r] + c;
      if constexpr (kTaps > 0) {
        constexpr int kIn = (kBlock - 1) * kStep + kTaps;
        Vec x[kIn];
#pragma GCC unroll 16
        for (int q = 0; q < kIn; ++q) x[q] = lanes.load(in[q] + c);
#pragma GCC unroll 4
        for (int t = 0; t < kTaps; ++t) {
          const Vec weight = lanes.load(w + t * s.channels);
#pragma GCC unroll 4
          for (int b = 0; b < kBlock; ++b) sum[b] += x[b * kStep + t] * weight;
        }
      } else {
        for (int t = 0; t < taps; ++t) {
          const Vec weight = lanes.load(w + t * s.channels);
#pragma GCC unroll 4
          for (int b = 0; b < kBlock; ++b) sum[b] += lanes.load(in[b * step + t] + c) * weight;
        }
      }
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
  });
}

template <ops::Activation kBy>
DepthwiseSumsKernel sums_kernel(int taps, int step) {
  if (taps == 3 && step == 1) return sum_block<kBy, 3, 1>;
  if (taps == 3 && step == 2) return sum_block<kBy, 3, 2>;
  if (taps == 2 && step == 1) return sum_block<kBy, 2, 1>;
  if (taps == 1 && step == 1) return sum_block<kBy, 1, 1>;
  return sum_block<kBy, 0, 0>;
}

// The sums of a whole window stay in registers while a block of pixels is added; they rest in dw, in the first cache.
template <int kRows, int kTaps, int kStep>
void multiply_row(const DepthwiseProducts& s) {
  constexpr int kBlock = kDepthwiseGradientPixels, kIn = (kBlock - 1) * kStep + kTaps;
  const float** gradients = s.table + kRows * kIn;
  for (std::int64_t j = 0; j < s.dy_width; j += kBlock) {
    for (int r = 0; r < kRows; ++r)
      point_to_pixels(s.rows[r], j * kStep + s.first, kIn, s.width, s.pixel, s.zeros, s.table + r * kIn);
    point_to_pixels(s.dy, j, kBlock, s.dy_width, s.dy_pixel, s.zeros, gradients);
    over_lanes(s.channels, [&](std::int64_t c, auto lanes) {
      Vec sum[kRows * kTaps], dy[kBlock];
#pragma GCC unroll 16
      for (int t = 0; t < kRows * kTaps; ++t) sum[t] = lanes.load(s.dw + t * s.channels + c);
#pragma GCC unroll 16
      for (int b = 0; b < kBlock; ++b) dy[b] = lanes.load(gradients[b] + c);
      prefetch<kBlock, kStep>(s, j, c);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
        for (int q = 0; q < kIn; ++q) {
          const Vec x = lanes.load(s.table[r * kIn + q] + c);
#pragma GCC unroll 4
          for (int t = 0; t < kTaps; ++t)
            if (q >= t && (q - t) % kStep == 0 && (q - t) / kStep < kBlock)
              sum[r * kTaps + t] += x * dy[(q - t) / kStep];
        }
#pragma GCC unroll 16
      for (int t = 0; t < kRows * kTaps; ++t) lanes.store(s.dw + t * s.channels + c, sum[t]);
    });
  }
}

// Any window: one weight at a time, over its pixels inside of the image.
void multiply_row_any(const DepthwiseProducts& s) {
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

DepthwiseSumsKernel depthwise_sums_kernel(ops::Activation activation, int taps, int step) {
  return with_activation(activation, [&](auto by) { return sums_kernel<by()>(taps, step); });
}

DepthwiseProductsKernel depthwise_products_kernel(int rows, int taps, int step) {
  if (rows == 3 && taps == 3 && step == 1) return multiply_row<3, 3, 1>;
  if (rows == 3 && taps == 3 && step == 2) return multiply_row<3, 3, 2>;
  return multiply_row_any;
}

}  // namespace brigade::host
