/// The mean of every channel over the whole image: y[n, c] = sum over h, w of x[n, h, w, c] / (H * W).
///
/// Lin, Chen, Yan, "Network In Network", ICLR 2014, section 3.2.
#pragma once

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct GlobalAveragePool {
  /// [N, H, W, C] -> [N, C]. Throws OptionError for other ranks.
  Shape output_shape(const Shape& x) const;

  struct Forward {
    ConstTensorView x;  ///< [N, H, W, C]
    TensorView y;       ///< [N, C], written
  };
  struct Backward {
    ConstTensorView dy;  ///< [N, C]
    TensorView dx;       ///< [N, H, W, C], overwritten
  };
};

}  // namespace brigade::ops
