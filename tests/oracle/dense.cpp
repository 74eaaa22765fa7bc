#include "oracle/dense.hpp"

#include "oracle/activation.hpp"

namespace brigade::oracle {

Array forward(const ops::Dense& dense, const Array& x, const Array& w, const Array& bias) {
  Array y(dense.output_shape(x.shape));
  for (std::int64_t n = 0; n < x.shape[0]; ++n)
    for (std::int64_t o = 0; o < dense.out_features; ++o) {
      for (std::int64_t i = 0; i < dense.in_features; ++i) y(n, o) += x(n, i) * w(i, o);
      if (!bias.values.empty()) y(n, o) += bias[o];
      y(n, o) = activate(dense.activation, y(n, o));
    }
  return y;
}

DenseGradients backward(const ops::Dense& dense, const Array& x, const Array& w, const Array& y, const Array& dy) {
  DenseGradients g{Array(x.shape), Array(w.shape), Array({dense.out_features})};
  for (std::int64_t n = 0; n < x.shape[0]; ++n)
    for (std::int64_t o = 0; o < dense.out_features; ++o) {
      if (slope(dense.activation, y(n, o)) == 0) continue;
      g.dbias[o] += dy(n, o);
      for (std::int64_t i = 0; i < dense.in_features; ++i) {
        g.dx(n, i) += dy(n, o) * w(i, o);
        g.dw(i, o) += dy(n, o) * x(n, i);
      }
    }
  return g;
}

}  // namespace brigade::oracle
