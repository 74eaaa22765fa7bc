// Depthwise convolution on the CPU: channels are contiguous, so a tap is one vector operation.
#include "brigade/ops/depthwise_conv2d.hpp"

#include <algorithm>

#include "activation.hpp"
#include "bias.hpp"
#include "host_backend.hpp"

namespace brigade::host {
namespace {

// Calls visit(input pixel, output pixel, tap) for the taps of output pixel (n, oy, ox) that lie inside of the image.
template <class Visit>
void over_taps(const ops::DepthwiseConv2d& op, const Shape& x, const Shape& y, std::int64_t out, const Visit& visit) {
  const std::int64_t ox = out % y[2], oy = out / y[2] % y[1], n = out / (y[1] * y[2]);
  for (int ky = 0; ky < op.kernel_h; ++ky)
    for (int kx = 0; kx < op.kernel_w; ++kx) {
      const std::int64_t iy = oy * op.stride_h - op.pad_top + ky, ix = ox * op.stride_w - op.pad_left + kx;
      if (iy >= 0 && iy < x[1] && ix >= 0 && ix < x[2]) visit((n * x[1] + iy) * x[2] + ix, out, ky * op.kernel_w + kx);
    }
}

}  // namespace

void HostBackend::forward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Forward& t) {
  EXPECT(t.y.shape == op.output_shape(t.x.shape) && t.w.shape == op.weight_shape() && t.w.dense());
  const float *x = t.x.f32(), *w = t.w.f32(), *bias = t.bias ? t.bias.f32() : nullptr;
  float* y = t.y.f32();
  with_activation(op.activation, [&](auto by) {
    for_each_part(t.y.shape.size() / op.channels, [&](std::int64_t pixel) {
      over_lanes(op.channels, [&](std::int64_t c, auto lanes) {
        Vec sum = bias == nullptr ? Vec{} : lanes.load(bias + c);
        over_taps(op, t.x.shape, t.y.shape, pixel, [&](std::int64_t in, std::int64_t, int tap) {
          sum += lanes.load(x + in * t.x.pitch + c) * lanes.load(w + tap * op.channels + c);
        });
        lanes.store(y + pixel * t.y.pitch + c, activate<by()>(sum));
      });
    });
  });
}

void HostBackend::backward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& t) {
  EXPECT(t.dy.shape == op.output_shape(t.x.shape) && t.w.shape == op.weight_shape() && t.w.dense());
  mask_and_sum(*this, op.activation, t.y, t.dy, t.dbias);
  const float *x = t.x.f32(), *w = t.w.f32(), *dy = t.dy.f32();
  float *dx = t.dx ? t.dx.f32() : nullptr, *dw = t.dw ? t.dw.f32() : nullptr;
  if (dw != nullptr) std::fill_n(dw, op.weight_shape().size(), 0.0F);
  const std::int64_t pixels = t.dy.shape.size() / op.channels, in_pixels = t.x.shape.size() / op.channels;
  // Channels never meet: threads share them out.
  for_each_part((op.channels + kLanes - 1) / kLanes, [&](std::int64_t stripe) {
    const std::int64_t first = stripe * kLanes, n = std::min<std::int64_t>(kLanes, op.channels - first);
    over_lanes(n, [&](std::int64_t, auto lanes) {
      for (std::int64_t i = 0; dx != nullptr && i < in_pixels; ++i) lanes.store(dx + i * t.dx.pitch + first, Vec{});
      for (std::int64_t out = 0; out < pixels; ++out)
        over_taps(op, t.x.shape, t.dy.shape, out, [&](std::int64_t in, std::int64_t, int tap) {
          const Vec gradient = lanes.load(dy + out * t.dy.pitch + first);
          const std::int64_t weight = tap * op.channels + first;
          if (dw != nullptr)
            lanes.store(dw + weight, lanes.load(dw + weight) + gradient * lanes.load(x + in * t.x.pitch + first));
          if (dx != nullptr) {
            float* to = dx + in * t.dx.pitch + first;
            lanes.store(to, lanes.load(to) + gradient * lanes.load(w + weight));
          }
        });
    });
  });
}

}  // namespace brigade::host
