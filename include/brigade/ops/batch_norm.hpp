/// Batch normalisation over N, H and W of a micro-batch.
///
///     y = act(gamma * (x - mean) / sqrt(variance + epsilon) + beta)
///
/// Ioffe, Szegedy, "Batch Normalization", ICML 2015, algorithm 1. The operation returns the
/// statistics of the micro-batch; running averages are kept by the training step, which sees all
/// micro-batches of all ranks.
#pragma once

#include "brigade/core/tensor.hpp"
#include "brigade/ops/activation.hpp"

namespace brigade::ops {

struct BatchNorm {
  std::int64_t channels = 1;
  float epsilon = 1e-3F;  ///< Keras' default
  Activation activation = Activation::none;

  Shape output_shape(const Shape& x) const { return x; }

  struct Forward {
    ConstTensorView x;            ///< [N, H, W, C] or [N, C]
    ConstTensorView gamma, beta;  ///< [C]
    TensorView y;                 ///< may be x only if no backward pass follows; empty: only the statistics are wanted
    TensorView mean, variance;    ///< [C], written: of this micro-batch, variance divided by the count
  };
  /// With fixed statistics (evaluation).
  struct Inference {
    ConstTensorView x, gamma, beta, mean, variance;
    TensorView y;  ///< may be x
  };
  /// Where dgamma and dbeta come from: they are sums over dy, which whoever made dy could add up on the way.
  enum class Sums : std::uint8_t { computed, given };
  /// The activation's mask is recomputed from x, so y is not needed.
  struct Backward {
    ConstTensorView x, gamma, beta, mean, variance;
    ConstTensorView dy;
    TensorView dx;             ///< may be dy or x; empty: not needed
    TensorView dgamma, dbeta;  ///< [C], overwritten; read if the sums are given
    Sums sums = Sums::computed;
  };
  /// dx -= offset + slope * (x - mean): what GradientThrough left to be done.
  struct Centring {
    ConstTensorView x;
    ConstTensorView mean, offset, slope;  ///< [C]
    TensorView dx;
  };
};

}  // namespace brigade::ops
