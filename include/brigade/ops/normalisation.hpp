/// The last part of a batch norm, applied by the reader of its output while it reads: the normalised tensor is never
/// stored. Jung et al., "Restructuring Batch Normalization to Accelerate CNN Training", MLSys 2019.
///
///     x' = act(gamma * (x - mean) / sqrt(variance + epsilon) + beta)
///
/// per channel, the same bits as BatchNorm::Inference would write. An operation that takes one computes everything,
/// gradients too, as if it had been given x' (zeros of a padding are zeros of x'); the gradient it returns is that of
/// x', which BatchNorm::Backward takes as its dy.
#pragma once

#include "brigade/core/tensor.hpp"
#include "brigade/ops/activation.hpp"

namespace brigade::ops {

struct Normalisation {
  ConstTensorView gamma, beta, mean, variance;  ///< [C]; all empty: x is read as it is
  float epsilon = 1e-3F;
  Activation activation = Activation::none;

  explicit operator bool() const { return static_cast<bool>(mean); }
};

}  // namespace brigade::ops
