#include "conv_oracle.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "brigade/core/error.hpp"

namespace brigade::benchmarks {
namespace {

constexpr std::int64_t kChecked = 64;  // elements of each result

// Sums of 10^5 and more products of 24-bit numbers, added in any order; a wrong or missing product shows
// as 1 / sqrt(number of products) or more.
constexpr double kTolerance = 2e-5;
// What storing a sum in bf16 adds, relative to the sum: half of its last place. The sum is much less than its terms'
// absolute values add up to, so a wrong product still shows.
constexpr double kRounding = 0x1p-8;

// Row-major position of (a, b, c, d).
std::int64_t place(const Shape& s, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
  return ((a * s[1] + b) * s[2] + c) * s[3] + d;
}

struct Sum {
  Element element;
  void add(float a, float b) {
    const double product = static_cast<double>(a) * b;
    element.value += product;
    element.magnitude += std::abs(product);
  }
};

// y(n, oy, ox, k) = sum over ky, kx, c
Element y_element(const ConvCase& c, std::span<const float> x, std::span<const float> w, std::int64_t n,
                  std::int64_t oy, std::int64_t ox, std::int64_t k) {
  const auto& o = c.conv;
  Sum sum;
  for (int ky = 0; ky < o.kernel_h; ++ky)
    for (int kx = 0; kx < o.kernel_w; ++kx) {
      const std::int64_t iy = oy * o.stride_h - o.pad_top + ky;
      const std::int64_t ix = ox * o.stride_w - o.pad_left + kx;
      if (iy < 0 || iy >= c.x[1] || ix < 0 || ix >= c.x[2]) continue;
      const std::int64_t inputs = o.in_channels / o.groups;  // of a group
      const std::int64_t first = k / (o.out_channels / o.groups) * inputs;
      for (std::int64_t i = 0; i < inputs; ++i)
        sum.add(x[static_cast<std::size_t>(place(c.x, n, iy, ix, first + i))],
                w[static_cast<std::size_t>(place(o.weight_shape(), ky, kx, i, k))]);
    }
  return sum.element;
}

// dx(n, iy, ix, i) = sum over ky, kx, k of those outputs that read it
Element dx_element(const ConvCase& c, std::span<const float> dy, std::span<const float> w, std::int64_t n,
                   std::int64_t iy, std::int64_t ix, std::int64_t i) {
  const auto& o = c.conv;
  const Shape y = o.output_shape(c.x);
  Sum sum;
  for (int ky = 0; ky < o.kernel_h; ++ky)
    for (int kx = 0; kx < o.kernel_w; ++kx) {
      const std::int64_t top = iy + o.pad_top - ky;
      const std::int64_t left = ix + o.pad_left - kx;
      if (top < 0 || left < 0 || top % o.stride_h != 0 || left % o.stride_w != 0) continue;
      if (top / o.stride_h >= y[1] || left / o.stride_w >= y[2]) continue;
      const std::int64_t inputs = o.in_channels / o.groups, outputs = o.out_channels / o.groups;
      for (std::int64_t k = i / inputs * outputs; k < (i / inputs + 1) * outputs; ++k)
        sum.add(dy[static_cast<std::size_t>(place(y, n, top / o.stride_h, left / o.stride_w, k))],
                w[static_cast<std::size_t>(place(o.weight_shape(), ky, kx, i % inputs, k))]);
    }
  return sum.element;
}

// dw(ky, kx, i, k) = sum over n, oy, ox
Element dw_element(const ConvCase& c, std::span<const float> x, std::span<const float> dy, std::int64_t ky,
                   std::int64_t kx, std::int64_t i, std::int64_t k) {
  const auto& o = c.conv;
  const Shape y = o.output_shape(c.x);
  const std::int64_t channel = k / (o.out_channels / o.groups) * (o.in_channels / o.groups) + i;
  Sum sum;
  for (std::int64_t n = 0; n < y[0]; ++n)
    for (std::int64_t oy = 0; oy < y[1]; ++oy)
      for (std::int64_t ox = 0; ox < y[2]; ++ox) {
        const std::int64_t iy = oy * o.stride_h - o.pad_top + ky;
        const std::int64_t ix = ox * o.stride_w - o.pad_left + kx;
        if (iy < 0 || iy >= c.x[1] || ix < 0 || ix >= c.x[2]) continue;
        sum.add(x[static_cast<std::size_t>(place(c.x, n, iy, ix, channel))],
                dy[static_cast<std::size_t>(place(y, n, oy, ox, k))]);
      }
  return sum.element;
}

}  // namespace

Element expected_element(const ConvCase& c, ConvPass pass, std::span<const float> x, std::span<const float> w,
                         std::span<const float> dy, std::int64_t index) {
  const Shape shape = pass == ConvPass::forward         ? c.conv.output_shape(c.x)
                      : pass == ConvPass::backward_data ? c.x
                                                        : c.conv.weight_shape();
  const std::int64_t last = index % shape[3];
  const std::int64_t third = index / shape[3] % shape[2];
  const std::int64_t second = index / shape[3] / shape[2] % shape[1];
  const std::int64_t first = index / shape[3] / shape[2] / shape[1];
  switch (pass) {
    case ConvPass::forward: return y_element(c, x, w, first, second, third, last);
    case ConvPass::backward_data: return dx_element(c, dy, w, first, second, third, last);
    case ConvPass::backward_weights: break;
  }
  return dw_element(c, x, dy, first, second, third, last);
}

double check_elements(const ConvCase& c, ConvPass pass, std::span<const float> x, std::span<const float> w,
                      std::span<const float> dy, std::span<const float> result, DType stored) {
  const auto size = static_cast<std::int64_t>(result.size());
  const std::int64_t count = std::min(size, kChecked);
  double largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    // The first, the last, and others between at places that share no factor with the extents.
    const std::int64_t index = i == 0 ? 0 : i == 1 ? size - 1 : (i * 2654435761 + 40503) % size;
    const Element expected = expected_element(c, pass, x, w, dy, index);
    const float got = result[static_cast<std::size_t>(index)];
    double tolerance = kTolerance * expected.magnitude;
    if (stored == DType::bf16) tolerance += kRounding * (std::abs(expected.value) + tolerance);
    const bool right = std::abs(got - expected.value) <= tolerance;  // false for NaN
    require<std::runtime_error>(right,
                                "{} of {}: element {} is {} instead of {} (the kernel is wrong, so its time means "
                                "nothing). Run the tests of ops?",
                                name_of(pass), describe(c), index, got, expected.value);
    if (expected.magnitude > 0) largest = std::max(largest, std::abs(got - expected.value) / expected.magnitude);
  }
  return largest;
}

}  // namespace brigade::benchmarks
