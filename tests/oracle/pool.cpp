#include "oracle/pool.hpp"

#include <cmath>

namespace brigade::oracle {
namespace {

// Calls visit(n, oy, ox, c, ky, kx, iy, ix) for every output and every tap inside the image, taps in row-major order.
template <class Visit>
void over_windows(const ops::PoolWindow& op, const Shape& x, const Visit& visit) {
  const Shape y = op.output_shape(x);
  for (std::int64_t n = 0; n < y[0]; ++n)
    for (std::int64_t oy = 0; oy < y[1]; ++oy)
      for (std::int64_t ox = 0; ox < y[2]; ++ox)
        for (std::int64_t c = 0; c < y[3]; ++c)
          for (int ky = 0; ky < op.kernel_h; ++ky)
            for (int kx = 0; kx < op.kernel_w; ++kx) {
              const std::int64_t iy = oy * op.stride_h - op.pad_top + ky, ix = ox * op.stride_w - op.pad_left + kx;
              if (iy >= 0 && iy < x[1] && ix >= 0 && ix < x[2]) visit(n, oy, ox, c, ky, kx, iy, ix);
            }
}

Array divisors(const ops::AveragePool& op, const Shape& x) {
  Array count(op.output_shape(x), op.count_padding ? op.kernel_h * op.kernel_w : 0);
  if (!op.count_padding)
    over_windows(op, x, [&](auto n, auto oy, auto ox, auto c, auto...) { count(n, oy, ox, c) += 1; });
  return count;
}

}  // namespace

Array max_pool(const ops::PoolWindow& op, const Array& x, Array* winner) {
  Array y(op.output_shape(x.shape)), tap(y.shape, -1);
  over_windows(op, x.shape, [&](auto n, auto oy, auto ox, auto c, auto ky, auto kx, auto iy, auto ix) {
    const double value = x(n, iy, ix, c);
    double& best = y(n, oy, ox, c);
    if (tap(n, oy, ox, c) < 0 || value > best || (std::isnan(value) && !std::isnan(best))) {
      best = value;
      tap(n, oy, ox, c) = ky * op.kernel_w + kx;
    }
  });
  if (winner != nullptr) *winner = tap;
  return y;
}

Array max_pool_backward(const ops::PoolWindow& op, const Array& x, const Array& dy) {
  Array winner, dx(x.shape);
  max_pool(op, x, &winner);
  over_windows(op, x.shape, [&](auto n, auto oy, auto ox, auto c, auto ky, auto kx, auto iy, auto ix) {
    if (winner(n, oy, ox, c) == ky * op.kernel_w + kx) dx(n, iy, ix, c) += dy(n, oy, ox, c);
  });
  return dx;
}

Array average_pool(const ops::AveragePool& op, const Array& x) {
  const Array count = divisors(op, x.shape);
  Array y(count.shape);
  over_windows(op, x.shape, [&](auto n, auto oy, auto ox, auto c, auto, auto, auto iy, auto ix) {
    y(n, oy, ox, c) += x(n, iy, ix, c) / count(n, oy, ox, c);
  });
  return y;
}

Array average_pool_backward(const ops::AveragePool& op, const Shape& x, const Array& dy) {
  const Array count = divisors(op, x);
  Array dx(x);
  over_windows(op, x, [&](auto n, auto oy, auto ox, auto c, auto, auto, auto iy, auto ix) {
    dx(n, iy, ix, c) += dy(n, oy, ox, c) / count(n, oy, ox, c);
  });
  return dx;
}

}  // namespace brigade::oracle
