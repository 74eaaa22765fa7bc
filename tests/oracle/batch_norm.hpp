#pragma once

#include "brigade/ops/batch_norm.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

struct BatchNormForward {
  Array y, mean, variance;
};
struct BatchNormBackward {
  Array dx, dgamma, dbeta;
};

BatchNormForward batch_norm(const ops::BatchNorm& op, const Array& x, const Array& gamma, const Array& beta);
Array batch_norm_infer(const ops::BatchNorm& op, const Array& x, const Array& gamma, const Array& beta,
                       const Array& mean, const Array& variance);
BatchNormBackward batch_norm_backward(const ops::BatchNorm& op, const Array& x, const Array& gamma, const Array& beta,
                                      const Array& dy);

}  // namespace brigade::oracle
