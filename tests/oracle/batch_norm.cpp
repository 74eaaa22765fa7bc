#include "oracle/batch_norm.hpp"

#include <cmath>

#include "oracle/activation.hpp"

namespace brigade::oracle {

BatchNormForward batch_norm(const ops::BatchNorm& op, const Array& x, const Array& gamma, const Array& beta) {
  const std::int64_t channels = op.channels, pixels = x.size() / channels;
  Array mean({channels}), variance({channels});
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t p = 0; p < pixels; ++p) mean[c] += x[p * channels + c];
    mean[c] /= static_cast<double>(pixels);
    for (std::int64_t p = 0; p < pixels; ++p) variance[c] += std::pow(x[p * channels + c] - mean[c], 2);
    variance[c] /= static_cast<double>(pixels);
  }
  return {batch_norm_infer(op, x, gamma, beta, mean, variance), mean, variance};
}

Array batch_norm_infer(const ops::BatchNorm& op, const Array& x, const Array& gamma, const Array& beta,
                       const Array& mean, const Array& variance) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t c = i % op.channels;
    y[i] = gamma[c] * (x[i] - mean[c]) / std::sqrt(variance[c] + static_cast<double>(op.epsilon)) + beta[c];
    y[i] = activate(op.activation, y[i]);
  }
  return y;
}

// The paper's equations, unsimplified.
BatchNormBackward batch_norm_backward(const ops::BatchNorm& op, const Array& x, const Array& gamma, const Array& beta,
                                      const Array& dy) {
  const std::int64_t channels = op.channels, pixels = x.size() / channels;
  const auto [y, mean, variance] = batch_norm(op, x, gamma, beta);
  const auto m = static_cast<double>(pixels);
  BatchNormBackward d{Array(x.shape), Array({channels}), Array({channels})};
  for (std::int64_t c = 0; c < channels; ++c) {
    const double deviation = std::sqrt(variance[c] + static_cast<double>(op.epsilon));
    double dvariance = 0, dmean = 0;
    const auto gradient = [&, &out = y](std::int64_t i) { return slope(op.activation, out[i]) * dy[i]; };
    for (std::int64_t i = c; i < x.size(); i += channels) {
      d.dbeta[c] += gradient(i);
      d.dgamma[c] += gradient(i) * (x[i] - mean[c]) / deviation;
      dvariance += gradient(i) * gamma[c] * (x[i] - mean[c]) * -0.5 / std::pow(deviation, 3);
      dmean -= gradient(i) * gamma[c] / deviation;
    }
    for (std::int64_t i = c; i < x.size(); i += channels)
      d.dx[i] = gradient(i) * gamma[c] / deviation + dvariance * 2 * (x[i] - mean[c]) / m + dmean / m;
  }
  return d;
}

}  // namespace brigade::oracle
