#include "oracle/relu.hpp"

namespace brigade::oracle {

Array relu(const Array& x) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.size(); ++i) y[i] = x[i] < 0 ? 0 : x[i];
  return y;
}

Array relu_backward(const Array& y, const Array& dy) {
  Array dx(y.shape);
  for (std::int64_t i = 0; i < y.size(); ++i) dx[i] = y[i] > 0 ? dy[i] : 0;
  return dx;
}

}  // namespace brigade::oracle
