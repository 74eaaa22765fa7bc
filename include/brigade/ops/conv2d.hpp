/// Two-dimensional convolution (cross-correlation, as in every deep-learning framework).
///
///     y[n, oy, ox, k] = act(bias[k] + sum over ky, kx, c of
///                           x[n, oy*stride - pad_top + ky, ox*stride - pad_left + kx, c] * w[ky, kx, c, k])
///
/// with zero outside of x. Goodfellow, Bengio, Courville, "Deep Learning" (2016), eq. 9.6.
///
/// With groups > 1 the channels of x and of y are cut into as many equal runs, and run g of y is the convolution of
/// run g of x alone (Krizhevsky, Sutskever, Hinton, NeurIPS 2012, section 3.2).
#pragma once

#include "brigade/core/tensor.hpp"
#include "brigade/ops/activation.hpp"
#include "brigade/ops/add.hpp"
#include "brigade/ops/batch_norm.hpp"
#include "brigade/ops/kept_weights.hpp"
#include "brigade/ops/normalisation.hpp"

namespace brigade::ops {

struct Conv2d {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  int kernel_h = 1, kernel_w = 1;
  int stride_h = 1, stride_w = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  Activation activation = Activation::none;
  std::int64_t groups = 1;  ///< divides in_channels and out_channels

  /// [N, H, W, C] -> [N, OH, OW, K]. Throws OptionError if the kernel does not fit into x, or groups not the channels.
  Shape output_shape(const Shape& x) const;
  /// Every pixel of x is read once, so that normalising it on the way costs no more than its reading.
  bool normalises_input() const {
    return kernel_h == 1 && kernel_w == 1 && pad_top == 0 && pad_left == 0 && pad_bottom == 0 && pad_right == 0;
  }
  /// Every pixel of x has its gradient from one sum, which can be taken through the batch norm that x came from.
  bool takes_gradient_through() const { return stride_h == 1 && stride_w == 1 && groups == 1; }
  /// A pixel of x has its gradient from one sum, beside which x is read anyway, or has none.
  bool finishes_gradient() const { return normalises_input() && groups == 1; }
  /// A pixel of y meets one of x, so that the gradient of y can be made while it is read.
  bool makes_gradient() const { return normalises_input() && groups == 1; }
  /// ... and every pixel of x meets one of y, so that the same holds for x.
  bool makes_input() const { return makes_gradient() && takes_gradient_through(); }
  /// [kernel_h, kernel_w, in_channels / groups, out_channels]; a group's filters lie side by side.
  Shape weight_shape() const { return {kernel_h, kernel_w, in_channels / groups, out_channels}; }
  /// Multiplications and additions of one forward pass.
  double flops(const Shape& x) const;

  /// What is computed first, as if by an operation of its own, while the pixels that the convolution needs next are in
  /// a cache. Both to the bit.
  struct MadeSum {
    Add op;
    Add::Forward tensors;  ///< its y is the convolution's x
    explicit operator bool() const { return static_cast<bool>(tensors.y); }
  };
  struct MadeGradient {
    BatchNorm op;                 ///< without an activation
    BatchNorm::Backward tensors;  ///< its dx is the convolution's dy; the sums are given
    explicit operator bool() const { return static_cast<bool>(tensors.dx); }
  };

  struct Forward {
    ConstTensorView x;        ///< [N, H, W, C]
    ConstTensorView w;        ///< [kh, kw, C / groups, K]
    ConstTensorView bias;     ///< [K], or empty
    TensorView y;             ///< [N, OH, OW, K], written
    Normalisation of_x = {};  ///< only if normalises_input()
    /// [K], written unless empty: of y over N, OH and OW, variance divided by the count, for a batch norm that follows.
    /// Only without an activation.
    TensorView mean = {}, variance = {};
    KeptWeights* kept = nullptr;  ///< of w, which is then the same until they are cleared; or null
    MadeSum made_x = {};          ///< only if makes_input(), without of_x
  };
  /// One of the three sums over a convolution's products.
  enum class Pass : std::uint8_t { forward, backward_data, backward_weights };
  /// All gradients are overwritten, never added to. An empty view is a gradient nobody needs.
  struct Backward {
    ConstTensorView x, w;
    ConstTensorView y;  ///< the forward output; read only with an activation
    TensorView dy;      ///< gradient of y; its content is lost (the activation's mask is applied to it)
    TensorView dx, dw, dbias;
    Normalisation of_x = {};  ///< as in Forward
    /// Unless empty, dx is the gradient of the batch norm's x in its stead; only if takes_gradient_through().
    GradientThrough through = {};
    SharedGradient shared = {};  ///< of x; only if finishes_gradient(), without of_x and `through`
    MadeGradient made_dy = {};   ///< only if makes_gradient(), without an activation
  };
};

/// Keras' and TensorFlow's "same" padding: output extent = ceil(input / stride), the odd pixel goes
/// to the bottom and right.
Conv2d with_same_padding(Conv2d conv, std::int64_t height, std::int64_t width);

}  // namespace brigade::ops
