// Shape rules and operation counts.
#include <algorithm>

#include "brigade/core/error.hpp"
#include "brigade/ops/add.hpp"
#include "brigade/ops/concat.hpp"
#include "brigade/ops/conv2d.hpp"
#include "brigade/ops/dense.hpp"
#include "brigade/ops/depthwise_conv2d.hpp"
#include "brigade/ops/global_average_pool.hpp"
#include "brigade/ops/local_response_norm.hpp"
#include "brigade/ops/pool.hpp"

namespace brigade::ops {
namespace {

// Positions a window can take along one axis.
std::int64_t positions(const char* what, std::int64_t extent, int pad, int kernel, int stride) {
  require<OptionError>(extent + pad >= kernel,
                       "a {} window of {} does not fit into an image of {} (padding {} included). "
                       "Use larger images or a smaller network?",
                       what, kernel, extent + pad, pad);
  return (extent + pad - kernel) / stride + 1;
}

template <class Convolution>
Convolution pad_same(Convolution conv, std::int64_t height, std::int64_t width) {
  const auto total = [](std::int64_t extent, int kernel, int stride) {
    const std::int64_t out = (extent + stride - 1) / stride;
    return static_cast<int>(std::max<std::int64_t>(0, (out - 1) * stride + kernel - extent));
  };
  const int vertical = total(height, conv.kernel_h, conv.stride_h);
  const int horizontal = total(width, conv.kernel_w, conv.stride_w);
  conv.pad_top = vertical / 2;
  conv.pad_bottom = vertical - conv.pad_top;
  conv.pad_left = horizontal / 2;
  conv.pad_right = horizontal - conv.pad_left;
  return conv;
}

}  // namespace

Shape Conv2d::output_shape(const Shape& x) const {
  require<OptionError>(x.rank() == 4 && x[3] == in_channels,
                       "a convolution of {} input channels cannot read a tensor {}", in_channels, to_string(x));
  require<OptionError>(groups >= 1 && in_channels % groups == 0 && out_channels % groups == 0,
                       "{} input and {} output channels cannot be cut into {} equal groups", in_channels, out_channels,
                       groups);
  return {x[0], positions("convolution", x[1], pad_top + pad_bottom, kernel_h, stride_h),
          positions("convolution", x[2], pad_left + pad_right, kernel_w, stride_w), out_channels};
}

double Conv2d::flops(const Shape& x) const {
  return 2.0 * static_cast<double>(output_shape(x).size()) *
         static_cast<double>(kernel_h * kernel_w * (in_channels / groups));
}

Shape DepthwiseConv2d::output_shape(const Shape& x) const {
  require<OptionError>(x.rank() == 4 && x[3] == channels,
                       "a depthwise convolution of {} channels cannot read a tensor {}", channels, to_string(x));
  return {x[0], positions("depthwise convolution", x[1], pad_top + pad_bottom, kernel_h, stride_h),
          positions("depthwise convolution", x[2], pad_left + pad_right, kernel_w, stride_w), channels};
}

double DepthwiseConv2d::flops(const Shape& x) const {
  return 2.0 * static_cast<double>(output_shape(x).size()) * static_cast<double>(kernel_h * kernel_w);
}

Conv2d with_same_padding(Conv2d conv, std::int64_t height, std::int64_t width) { return pad_same(conv, height, width); }

DepthwiseConv2d with_same_padding(DepthwiseConv2d conv, std::int64_t height, std::int64_t width) {
  return pad_same(conv, height, width);
}

Shape Dense::output_shape(const Shape& x) const {
  require<OptionError>(x.rank() == 2 && x[1] == in_features, "a dense layer of {} inputs cannot read a tensor {}",
                       in_features, to_string(x));
  return {x[0], out_features};
}

double Dense::flops(const Shape& x) const { return 2.0 * static_cast<double>(x[0] * in_features * out_features); }

Shape PoolWindow::output_shape(const Shape& x) const {
  require<OptionError>(x.rank() == 4, "pooling needs a tensor [N, H, W, C], not {}", to_string(x));
  return {x[0], positions("pooling", x[1], pad_top + pad_bottom, kernel_h, stride_h),
          positions("pooling", x[2], pad_left + pad_right, kernel_w, stride_w), x[3]};
}

Shape GlobalAveragePool::output_shape(const Shape& x) const {
  require<OptionError>(x.rank() == 4 && x[1] * x[2] > 0, "global pooling needs a tensor [N, H, W, C], not {}",
                       to_string(x));
  return {x[0], x[3]};
}

Shape LocalResponseNorm::output_shape(const Shape& x) const {
  require<OptionError>(x.rank() == 4, "local response normalisation needs a tensor [N, H, W, C], not {}", to_string(x));
  require<OptionError>(size >= 1 && size % 2 == 1 && bias > 0,
                       "local response normalisation over {} channels with bias {} is not defined (an odd number of "
                       "channels and a positive bias are needed)",
                       size, bias);
  return x;
}

Shape Add::output_shape(const Shape& a, const Shape& b) const {
  require<OptionError>(a == b, "a sum needs two tensors of one shape, not {} and {}", to_string(a), to_string(b));
  return a;
}

Shape Concat::output_shape(std::span<const Shape> x) const {
  require<OptionError>(!x.empty() && x.front().rank() >= 2, "there is nothing to concatenate");
  Shape out = x.front();
  for (const Shape& next : x.subspan(1)) {
    Shape expected = out;
    if (next.rank() == out.rank()) expected[out.rank() - 1] = next.back();
    require<OptionError>(next == expected, "tensors {} and {} differ in more than their channels", to_string(x.front()),
                         to_string(next));
    out[out.rank() - 1] += next.back();
  }
  return out;
}

}  // namespace brigade::ops
