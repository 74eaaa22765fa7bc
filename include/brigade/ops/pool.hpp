/// Max and average pooling over windows of an image.
#pragma once

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

/// The window both kinds of pooling share.
struct PoolWindow {
  int kernel_h = 2, kernel_w = 2;
  int stride_h = 2, stride_w = 2;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;

  /// [N, H, W, C] -> [N, OH, OW, C], extents rounded down (Keras "valid").
  Shape output_shape(const Shape& x) const;
};

/// y = the largest value of the window; padding never wins. Among equals the first in row-major
/// order wins, forward and backward.
struct MaxPool : PoolWindow {
  struct Forward {
    ConstTensorView x;
    TensorView y;
    TensorView winner;  ///< u8 [N, OH, OW, C]: ky * kernel_w + kx of the maximum; empty: not wanted
  };
  /// dx[winner] += dy; dx is overwritten as a whole.
  struct Backward {
    ConstTensorView winner;  ///< as written by Forward
    ConstTensorView dy;      ///< [N, OH, OW, C]
    TensorView dx;           ///< [N, H, W, C]
  };
};

/// y = the mean of the window.
struct AveragePool : PoolWindow {
  bool count_padding = false;  ///< divide by the window's size even where it hangs over the border

  struct Forward {
    ConstTensorView x;
    TensorView y;
  };
  struct Backward {
    ConstTensorView dy;
    TensorView dx;  ///< overwritten as a whole
  };
};

}  // namespace brigade::ops
