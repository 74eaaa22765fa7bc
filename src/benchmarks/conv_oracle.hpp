// Single elements of a convolution and its gradients, summed naively in double precision, so that a
// benchmark can check the answers of shapes far too large to compute twice.
#pragma once

#include <span>

#include "brigade/ops/conv2d.hpp"
#include "conv_cases.hpp"

namespace brigade::benchmarks {

struct Element {
  double value = 0;
  double magnitude = 0;  // sum of the terms' absolute values: what rounding is relative to
};

// Element `index` of the dense tensor a pass writes: y from x and w; dx from dy and w; dw from x and dy. Each reads
// only two of the spans.
Element expected_element(const ConvCase& c, ConvPass pass, std::span<const float> x, std::span<const float> w,
                         std::span<const float> dy, std::int64_t index);

// Throws std::runtime_error unless some elements of `result`, spread over the whole, are as expected: sums in float,
// then, if stored in bf16, rounded to that. Returns the largest error of these, relative to the sum of the absolute
// values of the element's terms.
double check_elements(const ConvCase& c, ConvPass pass, std::span<const float> x, std::span<const float> w,
                      std::span<const float> dy, std::span<const float> result, DType stored = DType::f32);

}  // namespace brigade::benchmarks
