/// Local response normalisation: each value is divided by a power of the energy of its neighbours along the channels.
///
///     s[c] = bias + alpha * sum over j in [c - size/2, c + size/2], inside of the channels, of x[j]^2
///     y[c] = x[c] * s[c]^-beta
///
/// for every pixel. Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks",
/// NeurIPS 2012, section 3.3, whose constants are the defaults (k there is `bias`, n is `size`). Some frameworks divide
/// their alpha by n; here, as in the paper, it multiplies the plain sum.
#pragma once

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct LocalResponseNorm {
  int size = 5;  ///< channels summed over, odd
  float bias = 2, alpha = 1e-4F, beta = 0.75F;

  /// [N, H, W, C], as x. Throws OptionError unless size is odd and bias positive.
  Shape output_shape(const Shape& x) const;

  struct Forward {
    ConstTensorView x;
    TensorView y;  ///< not x
  };
  /// dx[c] = dy[c] s[c]^-beta - 2 alpha beta x[c] * sum over the same neighbours j of dy[j] x[j] s[j]^-(beta + 1);
  /// s is computed again from x.
  struct Backward {
    ConstTensorView x, dy;
    TensorView dx;  ///< may be dy; overwritten
  };
};

}  // namespace brigade::ops
