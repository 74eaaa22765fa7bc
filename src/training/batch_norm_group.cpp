#include "batch_norm_group.hpp"

#include <algorithm>

#include "brigade/core/clock.hpp"

namespace brigade::training {

// One sum of E[x] and E[x^2] over members of equal count. In double the difference E[x^2] - E[x]^2 of float moments is
// good to a float's rounding until means are 10^4 deviations from 0.
void RankGroup::merge_moments(std::span<float> mean, std::span<float> variance) {
  const std::size_t channels = mean.size();
  sums_.resize(2 * channels);
  for (std::size_t c = 0; c < channels; ++c) {
    sums_[c] = mean[c];
    sums_[channels + c] = variance[c] + static_cast<double>(mean[c]) * mean[c];
  }
  sum("the batch-norm statistics of the group");
  const auto members = static_cast<double>(ranks_.size());
  for (std::size_t c = 0; c < channels; ++c) {
    const double first = sums_[c] / members, second = sums_[channels + c] / members;
    mean[c] = static_cast<float>(first);
    variance[c] = static_cast<float>(std::max(0.0, second - first * first));
  }
}

void RankGroup::average_gradients(std::span<float> dgamma, std::span<float> dbeta) {
  sums_.assign(dgamma.begin(), dgamma.end());
  sums_.insert(sums_.end(), dbeta.begin(), dbeta.end());
  sum("the batch-norm gradients of the group");
  const auto members = static_cast<double>(ranks_.size());
  const auto average = [&](std::size_t i) { return static_cast<float>(sums_[i] / members); };
  for (std::size_t c = 0; c < dgamma.size(); ++c) dgamma[c] = average(c);
  for (std::size_t c = 0; c < dbeta.size(); ++c) dbeta[c] = average(dgamma.size() + c);
}

void RankGroup::sum(std::string_view what) {
  const Stopwatch watch;
  ranks_.sum(sums_, what);
  waited_s_ += watch.elapsed();
}

}  // namespace brigade::training
