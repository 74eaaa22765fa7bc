#include "oracle/conv2d.hpp"

#include "oracle/activation.hpp"

namespace brigade::oracle {
namespace {

// Calls visit(n, oy, ox, k, iy, ix, c, ky, kx, wc) for every product of the sum: an input element inside of x, a weight
// (ky, kx, wc, k) and the output element they add to. Channel c is number wc of k's group.
template <class Visit>
void for_each_product(const ops::Conv2d& conv, const Shape& x, const Shape& y, const Visit& visit) {
  for (std::int64_t n = 0; n < y[0]; ++n)
    for (std::int64_t oy = 0; oy < y[1]; ++oy)
      for (std::int64_t ox = 0; ox < y[2]; ++ox)
        for (std::int64_t k = 0; k < y[3]; ++k)
          for (int ky = 0; ky < conv.kernel_h; ++ky)
            for (int kx = 0; kx < conv.kernel_w; ++kx)
              for (std::int64_t wc = 0; wc < x[3] / conv.groups; ++wc) {
                const std::int64_t c = k / (y[3] / conv.groups) * (x[3] / conv.groups) + wc;
                const std::int64_t iy = oy * conv.stride_h - conv.pad_top + ky;
                const std::int64_t ix = ox * conv.stride_w - conv.pad_left + kx;
                if (iy >= 0 && iy < x[1] && ix >= 0 && ix < x[2]) visit(n, oy, ox, k, iy, ix, c, ky, kx, wc);
              }
}

}  // namespace

Array forward(const ops::Conv2d& conv, const Array& x, const Array& w, const Array& bias) {
  Array y(conv.output_shape(x.shape));
  for_each_product(conv, x.shape, y.shape,
                   [&](auto n, auto oy, auto ox, auto k, auto iy, auto ix, auto c, auto ky, auto kx, auto wc) {
                     y(n, oy, ox, k) += x(n, iy, ix, c) * w(ky, kx, wc, k);
                   });
  for (std::int64_t i = 0; i < y.size(); ++i) {
    if (!bias.values.empty()) y[i] += bias[i % y.shape[3]];
    y[i] = activate(conv.activation, y[i]);
  }
  return y;
}

Conv2dGradients backward(const ops::Conv2d& conv, const Array& x, const Array& w, const Array& y, const Array& dy) {
  Conv2dGradients g{Array(x.shape), Array(w.shape), Array({y.shape[3]})};
  Array masked = dy;
  for (std::int64_t i = 0; i < dy.size(); ++i) {
    masked[i] *= slope(conv.activation, y[i]);
    g.dbias[i % y.shape[3]] += masked[i];
  }
  for_each_product(conv, x.shape, y.shape,
                   [&](auto n, auto oy, auto ox, auto k, auto iy, auto ix, auto c, auto ky, auto kx, auto wc) {
                     g.dx(n, iy, ix, c) += masked(n, oy, ox, k) * w(ky, kx, wc, k);
                     g.dw(ky, kx, wc, k) += masked(n, oy, ox, k) * x(n, iy, ix, c);
                   });
  return g;
}

}  // namespace brigade::oracle
