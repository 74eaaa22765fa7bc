#include "oracle/relu.hpp"

namespace brigade::oracle {

Array relu(const ops::Relu& op, const Array& x) {
  Array y = x;
  for (double& value : y.values) {
    if (value < 0) value = 0;
    if (value > op.max) value = op.max;
  }
  return y;
}

Array relu_backward(const ops::Relu& op, const Array& y, const Array& dy) {
  Array dx(y.shape);
  for (std::int64_t i = 0; i < y.size(); ++i) dx[i] = y[i] > 0 && y[i] < op.max ? dy[i] : 0;
  return dx;
}

}  // namespace brigade::oracle
