/// Fully connected layer: y = act(x w + bias).
#pragma once

#include "brigade/core/tensor.hpp"
#include "brigade/ops/activation.hpp"
#include "brigade/ops/kept_weights.hpp"

namespace brigade::ops {

struct Dense {
  std::int64_t in_features = 1;
  std::int64_t out_features = 1;
  Activation activation = Activation::none;

  /// [N, in] -> [N, out]
  Shape output_shape(const Shape& x) const;
  Shape weight_shape() const { return {in_features, out_features}; }
  double flops(const Shape& x) const;

  struct Forward {
    ConstTensorView x;            ///< [N, in]
    ConstTensorView w;            ///< [in, out]
    ConstTensorView bias;         ///< [out], or empty
    TensorView y;                 ///< [N, out], written
    KeptWeights* kept = nullptr;  ///< of w, which is then the same until they are cleared; or null
  };
  /// Gradients are overwritten; an empty view is a gradient nobody needs.
  struct Backward {
    ConstTensorView x, w;
    ConstTensorView y;  ///< the forward output; read only with an activation
    TensorView dy;      ///< gradient of y; its content is lost
    TensorView dx, dw, dbias;
  };
};

}  // namespace brigade::ops
