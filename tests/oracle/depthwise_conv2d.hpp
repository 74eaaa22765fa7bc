// Depthwise convolution by its definition: six nested loops.
#pragma once

#include "brigade/ops/depthwise_conv2d.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

/// y = act(conv(x, w) + bias); an empty bias is none.
Array forward(const ops::DepthwiseConv2d& conv, const Array& x, const Array& w, const Array& bias);

struct DepthwiseGradients {
  Array dx, dw, dbias;
};
/// y is the output of forward(); it tells where the activation was on.
DepthwiseGradients backward(const ops::DepthwiseConv2d& conv, const Array& x, const Array& w, const Array& y,
                            const Array& dy);

}  // namespace brigade::oracle
