/// The last part of a batch norm, applied by the reader of its output while it reads: the normalised tensor is never
/// stored. Jung et al., "Restructuring Batch Normalization to Accelerate CNN Training", MLSys 2019.
///
///     x' = act(gamma * (x - mean) / sqrt(variance + epsilon) + beta)
///
/// per channel, the same bits as BatchNorm::Inference would write. An operation that takes one computes everything,
/// gradients too, as if it had been given x' (zeros of a padding are zeros of x'); the gradient it returns is that of
/// x', which BatchNorm::Backward takes as its dy.
#pragma once

#include <array>

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

/// The gradient of an x that several operations read, finished by the last of them in backward while it has its own
/// share in a cache. x may be a sum (Add) of normalised tensors: then each of these has the same gradient.
///
///     dx = own share + (add ? what dx holds : 0),   0 where the activation did not let x through
///     dbeta = sum of dx,   dgamma = sum of dx * (z - mean) / sqrt(variance + epsilon)   for each batch norm of a z
///
/// in x. So Add::Backward has no mask left to apply, and BatchNorm::Backward has its sums given.
struct SharedGradient {
  bool finishes = false;                     ///< false: dx is overwritten by the operation's own share
  bool add = false;                          ///< to what dx holds, which others gave
  Activation activation = Activation::none;  ///< that x came from; read off x
  struct Norm {
    ConstTensorView z, mean, variance;  ///< z shaped as x; [C]
    float epsilon = 1e-3F;
    TensorView dgamma, dbeta;  ///< [C], overwritten
    explicit operator bool() const { return static_cast<bool>(z); }
  };
  std::array<Norm, 2> norms = {};  ///< the first ones; empty: no more

  explicit operator bool() const { return finishes; }
};

}  // namespace brigade::ops
