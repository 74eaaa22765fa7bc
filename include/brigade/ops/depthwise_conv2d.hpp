/// Depthwise convolution: every channel has a kernel of its own and meets no other channel.
///
///     y[n, oy, ox, c] = act(bias[c] + sum over ky, kx of
///                           x[n, oy*stride_h - pad_top + ky, ox*stride_w - pad_left + kx, c] * w[ky, kx, c])
///
/// with zero outside of x. Howard et al., "MobileNets", 2017, eq. 3.
#pragma once

#include "brigade/core/tensor.hpp"
#include "brigade/ops/activation.hpp"
#include "brigade/ops/normalisation.hpp"

namespace brigade::ops {

struct DepthwiseConv2d {
  std::int64_t channels = 1;
  int kernel_h = 1, kernel_w = 1;
  int stride_h = 1, stride_w = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  Activation activation = Activation::none;

  /// [N, H, W, C] -> [N, OH, OW, C]. Throws OptionError if the kernel does not fit into x.
  Shape output_shape(const Shape& x) const;
  /// [kernel_h, kernel_w, channels]
  Shape weight_shape() const { return {kernel_h, kernel_w, channels}; }
  /// Multiplications and additions of one forward pass.
  double flops(const Shape& x) const;

  struct Forward {
    ConstTensorView x;     ///< [N, H, W, C]
    ConstTensorView w;     ///< [kh, kw, C]
    ConstTensorView bias;  ///< [C], or empty
    TensorView y;          ///< [N, OH, OW, C], written
    Normalisation of_x = {};
    /// [C], written unless empty: of y over N, OH and OW, variance divided by the count, for a batch norm that follows.
    /// Only without an activation.
    TensorView mean = {}, variance = {};
  };
  /// All gradients are overwritten, never added to. An empty view is a gradient nobody needs.
  struct Backward {
    ConstTensorView x, w;
    ConstTensorView y;  ///< the forward output; read only with an activation
    TensorView dy;      ///< gradient of y; its content is lost (the activation's mask is applied to it)
    TensorView dx, dw, dbias;
    Normalisation of_x = {};  ///< as in Forward
    /// [C], written unless empty, only with of_x and dx: the gradients of its gamma and beta, which BatchNorm::Backward
    /// takes as given. They are summed while dx is in a cache.
    TensorView dgamma = {}, dbeta = {};
  };
};

/// "Same" padding as for Conv2d.
DepthwiseConv2d with_same_padding(DepthwiseConv2d conv, std::int64_t height, std::int64_t width);

}  // namespace brigade::ops
