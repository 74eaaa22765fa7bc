// What the tests of convolutions and dense layers share.
#pragma once

#include "brigade/ops/backend.hpp"
#include "ops/support.hpp"
#include "oracle/conv2d.hpp"
#include "oracle/dense.hpp"
#include "oracle/depthwise_conv2d.hpp"

namespace brigade::tests {

/// All gradients of a Conv2d, DepthwiseConv2d or Dense with an input of this shape; rows of x, y and their gradients
/// lie `gap` floats apart.
template <typename Layer>
void expect_backward_is_the_oracle(const Layer& layer, const Shape& x_shape, std::int64_t gap, bool bias,
                                   double error) {
  const Shape y_shape = layer.output_shape(x_shape);
  const std::int64_t x_pitch = x_shape.back() + gap, y_pitch = y_shape.back() + gap;
  const auto x = random_tensor(x_shape, 1, -1, 1, x_pitch), w = random_tensor(layer.weight_shape(), 2);
  const auto y = random_tensor(y_shape, 5, -7, 8, y_pitch);  // where it lies between 0 and 6 alone matters
  auto dy = random_tensor(y_shape, 4, -1, 1, y_pitch);
  const auto expected = oracle::backward(layer, to_array(x), to_array(w), to_array(y), to_array(dy));
  Tensor dx(x_shape, x_pitch), dw(w.shape), dbias({y_shape.back()});
  backend().backward(layer, {.x = x.view(),
                             .w = w.view(),
                             .y = y.view(),
                             .dy = dy.view(),
                             .dx = dx.view(),
                             .dw = dw.view(),
                             .dbias = bias ? dbias.view() : TensorView()});
  expect_near(dx, expected.dx, error, "dx");
  expect_near(dw, expected.dw, error, "dw");
  if (bias) expect_near(dbias, expected.dbias, error, "dbias");
}

/// dx alone of a convolution without activation, taken through the batch norm that its input x came from.
inline void backward_through(const ops::Conv2d& conv, ConstTensorView x, ConstTensorView w, TensorView dy,
                             TensorView dx, const ops::GradientThrough& norm) {
  backend().backward(conv, {.x = x, .w = w, .y = {}, .dy = dy, .dx = dx, .dw = {}, .dbias = {}, .through = norm});
}

}  // namespace brigade::tests
