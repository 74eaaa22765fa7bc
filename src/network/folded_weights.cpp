#include "folded_weights.hpp"

#include <cmath>
#include <vector>

namespace brigade::network {
namespace {

// All elements on the host; `missing` times where there is no tensor.
std::vector<float> fetch(ops::Backend& backend, const ConstTensorView& view, std::int64_t count, float missing = 0) {
  std::vector<float> values(static_cast<std::size_t>(count), missing);
  if (view) backend.download(view.data, values.data(), view.bytes());
  return values;
}

}  // namespace

void fold_weights(ops::Backend& backend, const FoldedWeights& w) {
  const std::int64_t count = w.beta.shape.size();
  const auto channels = static_cast<std::size_t>(count);
  std::vector<float> kernel = fetch(backend, w.kernel, w.kernel.shape.size());
  const std::vector<float> bias = fetch(backend, w.bias, count), beta = fetch(backend, w.beta, count),
                           gamma = fetch(backend, w.gamma, count, 1), mean = fetch(backend, w.mean, count),
                           variance = fetch(backend, w.variance, count);
  backend.synchronize();
  std::vector<float> scale(channels), folded_bias(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const double s = gamma[c] / std::sqrt(static_cast<double>(variance[c]) + static_cast<double>(w.epsilon));
    scale[c] = static_cast<float>(s);
    folded_bias[c] = static_cast<float>(beta[c] + (static_cast<double>(bias[c]) - mean[c]) * s);
  }
  for (std::size_t row = 0; row < kernel.size(); row += channels)
    for (std::size_t c = 0; c < channels; ++c) kernel[row + c] *= scale[c];
  backend.upload(kernel.data(), w.folded_kernel.data, kernel.size() * sizeof(float));
  backend.upload(folded_bias.data(), w.folded_bias.data, channels * sizeof(float));
  backend.synchronize();  // the host's copies end here
}

}  // namespace brigade::network
