/// Sum of two tensors: y = act(a + scale * b), where a residual branch meets its shortcut.
///
/// He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, eq. 1; a scale below 1 keeps wide branches
/// stable (Szegedy et al., "Inception-v4, Inception-ResNet ...", AAAI 2017, section 3.3).
#pragma once

#include "brigade/core/tensor.hpp"
#include "brigade/ops/activation.hpp"
#include "brigade/ops/normalisation.hpp"

namespace brigade::ops {

struct Add {
  float scale = 1;  ///< of b
  Activation activation = Activation::none;

  /// The shape both summands share. Throws OptionError if they differ.
  Shape output_shape(const Shape& a, const Shape& b) const;

  struct Forward {
    ConstTensorView a, b;
    TensorView y;                        ///< may be a or b
    Normalisation of_a = {}, of_b = {};  ///< the summand is read through it (y may still be the memory of a or b)
  };
  /// da = dy, db = scale * dy, both where the activation let y through, else 0. An empty view is a gradient nobody
  /// needs.
  struct Backward {
    ConstTensorView y;  ///< the forward output; read only with an activation
    ConstTensorView dy;
    TensorView da, db;  ///< either may be dy; da may be db only if scale is 1
  };
};

}  // namespace brigade::ops
