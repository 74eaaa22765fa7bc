#include "oracle/depthwise_conv2d.hpp"

#include "oracle/activation.hpp"

namespace brigade::oracle {
namespace {

// Calls visit(n, oy, ox, iy, ix, c, weight) for every product of the sum: an output element, the input element inside
// of x and the index of the weight.
template <class Visit>
void for_each_product(const ops::DepthwiseConv2d& conv, const Shape& x, const Shape& y, const Visit& visit) {
  for (std::int64_t n = 0; n < y[0]; ++n)
    for (std::int64_t oy = 0; oy < y[1]; ++oy)
      for (std::int64_t ox = 0; ox < y[2]; ++ox)
        for (int ky = 0; ky < conv.kernel_h; ++ky)
          for (int kx = 0; kx < conv.kernel_w; ++kx)
            for (std::int64_t c = 0; c < x[3]; ++c) {
              const std::int64_t iy = oy * conv.stride_h - conv.pad_top + ky;
              const std::int64_t ix = ox * conv.stride_w - conv.pad_left + kx;
              if (iy >= 0 && iy < x[1] && ix >= 0 && ix < x[2])
                visit(n, oy, ox, iy, ix, c, (ky * conv.kernel_w + kx) * conv.channels + c);
            }
}

}  // namespace

Array forward(const ops::DepthwiseConv2d& conv, const Array& x, const Array& w, const Array& bias) {
  Array y(conv.output_shape(x.shape));
  for_each_product(conv, x.shape, y.shape, [&](auto n, auto oy, auto ox, auto iy, auto ix, auto c, auto weight) {
    y(n, oy, ox, c) += x(n, iy, ix, c) * w[weight];
  });
  for (std::int64_t i = 0; i < y.size(); ++i)
    y[i] = activate(conv.activation, y[i] + (bias.values.empty() ? 0 : bias[i % conv.channels]));
  return y;
}

DepthwiseGradients backward(const ops::DepthwiseConv2d& conv, const Array& x, const Array& w, const Array& y,
                            const Array& dy) {
  DepthwiseGradients g{Array(x.shape), Array(w.shape), Array({conv.channels})};
  Array masked = dy;
  for (std::int64_t i = 0; i < dy.size(); ++i) {
    masked[i] *= slope(conv.activation, y[i]);
    g.dbias[i % conv.channels] += masked[i];
  }
  for_each_product(conv, x.shape, y.shape, [&](auto n, auto oy, auto ox, auto iy, auto ix, auto c, auto weight) {
    g.dx(n, iy, ix, c) += masked(n, oy, ox, c) * w[weight];
    g.dw[weight] += masked(n, oy, ox, c) * x(n, iy, ix, c);
  });
  return g;
}

}  // namespace brigade::oracle
