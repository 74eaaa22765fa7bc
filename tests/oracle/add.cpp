#include "oracle/add.hpp"

#include "oracle/activation.hpp"

namespace brigade::oracle {

Array add(const ops::Add& op, const Array& a, const Array& b) {
  Array y(a.shape);
  for (std::int64_t i = 0; i < a.size(); ++i) y[i] = activate(op.activation, a[i] + op.scale * b[i]);
  return y;
}

AddGradients add_backward(const ops::Add& op, const Array& y, const Array& dy) {
  AddGradients g{Array(dy.shape), Array(dy.shape)};
  for (std::int64_t i = 0; i < dy.size(); ++i) {
    g.da[i] = slope(op.activation, y[i]) * dy[i];
    g.db[i] = op.scale * g.da[i];
  }
  return g;
}

}  // namespace brigade::oracle
