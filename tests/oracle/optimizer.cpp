#include "oracle/optimizer.hpp"

#include <cmath>

namespace brigade::oracle {

void update(const ops::Blend& op, const Array& x, Array& y) {
  for (std::int64_t i = 0; i < x.size(); ++i) y[i] = op.keep * y[i] + op.add * x[i];
}

void update(const ops::Sgd& op, const Array& gradient, Array& weights, Array& velocity) {
  for (std::int64_t i = 0; i < weights.size(); ++i) {
    const double g = gradient[i] + op.weight_decay * weights[i];
    velocity[i] = op.momentum * velocity[i] + g;
    weights[i] -= op.learning_rate * (op.nesterov ? g + op.momentum * velocity[i] : velocity[i]);
  }
}

void update(const ops::Adam& op, const Array& gradient, Array& weights, Array& m, Array& v) {
  const double b1 = op.beta1, b2 = op.beta2, step = static_cast<double>(op.step);
  for (std::int64_t i = 0; i < weights.size(); ++i) {
    const double g = gradient[i] + op.weight_decay * weights[i];
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    const double m_hat = m[i] / (1 - std::pow(b1, step)), v_hat = v[i] / (1 - std::pow(b2, step));
    weights[i] -= op.learning_rate * m_hat / (std::sqrt(v_hat) + op.epsilon);
  }
}

}  // namespace brigade::oracle
