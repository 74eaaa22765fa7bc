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

/// The way of a gradient back through a normalisation by the statistics of x itself. With s = 1 / sqrt(variance +
/// epsilon), g the gradient of x' where the activation let x' through, and n pixels,
///
///     dbeta = sum of g,   dgamma = sum of g * (x - mean) * s
///     dx = gamma * s * g - (offset + slope * (x - mean)),   offset = gamma * s * dbeta / n,   slope = gamma * s^2 *
///     dgamma / n
///
/// Whoever makes g takes it through while it is in a cache: it writes (or adds) gamma * s * g, which a pixel knows
/// alone, and the sums. BatchNorm::Centring subtracts the rest, which is linear in x: where several batch norms read
/// one x, their offsets and slopes add up, and x and dx are read once for all of them.
struct GradientThrough {
  ConstTensorView x;  ///< what was normalised, shaped as dx
  Normalisation by;
  TensorView dgamma, dbeta;  ///< [C], overwritten
  TensorView offset, slope;  ///< [C]
  bool add = false;          ///< gamma * s * g to what dx holds, else dx is overwritten
  bool add_rest = false;     ///< the same for offset and slope

  explicit operator bool() const { return static_cast<bool>(x); }
};

}  // namespace brigade::ops
