/// Rectified linear unit: y = min(max(x, 0), max), on its own (mostly it is fused into its producer).
#pragma once

#include <limits>

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct Relu {
  float max = std::numeric_limits<float>::infinity();  ///< 6 for ReLU6

  Shape output_shape(const Shape& x) const { return x; }

  struct Forward {
    ConstTensorView x;
    TensorView y;  ///< may be x
  };
  /// dx = dy where 0 < y < max, else 0.
  struct Backward {
    ConstTensorView y, dy;
    TensorView dx;  ///< may be dy
  };
};

}  // namespace brigade::ops
