// Convolution by its definition: seven nested loops.
#pragma once

#include "brigade/ops/conv2d.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

/// y = act(conv(x, w) + bias); an empty bias is none.
Array forward(const ops::Conv2d& conv, const Array& x, const Array& w, const Array& bias);

struct Conv2dGradients {
  Array dx, dw, dbias;
};
/// y is the output of forward(); it tells where the activation was on.
Conv2dGradients backward(const ops::Conv2d& conv, const Array& x, const Array& w, const Array& y, const Array& dy);

}  // namespace brigade::oracle
