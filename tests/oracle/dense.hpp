// A fully connected layer by its definition.
#pragma once

#include "brigade/ops/dense.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

/// y = act(x w + bias); an empty bias is none.
Array forward(const ops::Dense& dense, const Array& x, const Array& w, const Array& bias);

struct DenseGradients {
  Array dx, dw, dbias;
};
/// y is the output of forward(); it tells where the activation was on.
DenseGradients backward(const ops::Dense& dense, const Array& x, const Array& w, const Array& y, const Array& dy);

}  // namespace brigade::oracle
