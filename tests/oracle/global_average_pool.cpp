#include "oracle/global_average_pool.hpp"

namespace brigade::oracle {
namespace {

template <class Visit>
void for_each_element(const Shape& x, const Visit& visit) {
  for (std::int64_t n = 0; n < x[0]; ++n)
    for (std::int64_t h = 0; h < x[1]; ++h)
      for (std::int64_t w = 0; w < x[2]; ++w)
        for (std::int64_t c = 0; c < x[3]; ++c) visit(n, h, w, c);
}

}  // namespace

Array global_average_pool(const Array& x) {
  Array y({x.shape[0], x.shape[3]});
  const auto pixels = static_cast<double>(x.shape[1] * x.shape[2]);
  for_each_element(x.shape, [&](auto n, auto h, auto w, auto c) { y(n, c) += x(n, h, w, c) / pixels; });
  return y;
}

Array global_average_pool_backward(const Shape& x_shape, const Array& dy) {
  Array dx(x_shape);
  const auto pixels = static_cast<double>(x_shape[1] * x_shape[2]);
  for_each_element(x_shape, [&](auto n, auto h, auto w, auto c) { dx(n, h, w, c) = dy(n, c) / pixels; });
  return dx;
}

}  // namespace brigade::oracle
