#include "oracle/local_response_norm.hpp"

#include <cmath>
#include <cstdlib>

namespace brigade::oracle {
namespace {

// bias + alpha * sum of squares around channel c of the pixel that begins at `first`.
double energy(const ops::LocalResponseNorm& op, const Array& x, std::int64_t first, std::int64_t c) {
  double sum = 0;
  for (std::int64_t j = 0; j < x.shape.back(); ++j)
    if (std::abs(j - c) <= op.size / 2) sum += x[first + j] * x[first + j];
  return op.bias + static_cast<double>(op.alpha) * sum;
}

}  // namespace

Array forward(const ops::LocalResponseNorm& op, const Array& x) {
  Array y(x.shape);
  const std::int64_t channels = x.shape.back();
  for (std::int64_t i = 0; i < x.size(); ++i)
    y[i] = x[i] * std::pow(energy(op, x, i / channels * channels, i % channels), -static_cast<double>(op.beta));
  return y;
}

Array backward(const ops::LocalResponseNorm& op, const Array& x, const Array& dy) {
  Array dx(x.shape);
  const std::int64_t channels = x.shape.back();
  const double alpha = op.alpha, beta = op.beta;
  for (std::int64_t first = 0; first < x.size(); first += channels)
    for (std::int64_t c = 0; c < channels; ++c) {
      const double s = energy(op, x, first, c);
      for (std::int64_t j = 0; j < channels; ++j) {
        double derivative = j == c ? std::pow(s, -beta) : 0;  // of y[c] by x[j]
        if (std::abs(j - c) <= op.size / 2)
          derivative -= beta * std::pow(s, -beta - 1) * 2 * alpha * x[first + j] * x[first + c];
        dx[first + j] += dy[first + c] * derivative;
      }
    }
  return dx;
}

}  // namespace brigade::oracle
