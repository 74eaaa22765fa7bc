/// Concatenation of tensors along their channels: y[..., :] = (x0[..., :], x1[..., :], ...).
///
/// An input that already is its slice of y (a view at its address, with the pitch of y) is left alone, forward and
/// backward. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015; Huang et al., "Densely Connected
/// Convolutional Networks", CVPR 2017.
#pragma once

#include <span>

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct Concat {
  /// [N, H, W, C0], [N, H, W, C1], ... -> [N, H, W, C0 + C1 + ...], or all of rank 2. Throws OptionError if the shapes
  /// differ in more than their channels.
  Shape output_shape(std::span<const Shape> x) const;

  struct Forward {
    std::span<const ConstTensorView> x;
    TensorView y;
  };
  /// Each dx is its slice of dy. A view without data is a gradient nobody needs; its shape still says which channels.
  struct Backward {
    ConstTensorView dy;
    std::span<const TensorView> dx;
  };
};

}  // namespace brigade::ops
