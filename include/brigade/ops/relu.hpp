/// Rectified linear unit: y = max(x, 0), on its own (mostly it is fused into its producer).
#pragma once

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct Relu {
  Shape output_shape(const Shape& x) const { return x; }

  struct Forward {
    ConstTensorView x;
    TensorView y;  ///< may be x
  };
  /// dx = dy where y > 0, else 0.
  struct Backward {
    ConstTensorView y, dy;
    TensorView dx;  ///< may be dy
  };
};

}  // namespace brigade::ops
