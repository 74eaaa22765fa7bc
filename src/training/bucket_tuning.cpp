#include "bucket_tuning.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace brigade::training {
namespace {

std::string size_name(std::size_t bytes) {
  return bytes > (1U << 30) ? "all at once" : fmt::format("{} MiB", bytes >> 20);
}

}  // namespace

void BucketTuning::took(double seconds, communication::Communicator& communicator) {
  if (step_ >= kWarmUp) seconds_[candidate()].push_back(seconds);
  if (++step_ < kSteps) return;
  for (std::size_t i = 0; i < kBytes.size(); ++i) {
    const auto middle = seconds_[i].begin() + std::ssize(seconds_[i]) / 2;
    std::nth_element(seconds_[i].begin(), middle, seconds_[i].end());
    medians_[i] = *middle;
  }
  communicator.sum(std::span<double>(medians_), "agreeing on the size of buckets");  // the same bits on all ranks
  for (double& median : medians_) median /= communicator.size();
  const auto least = std::ranges::min_element(medians_);
  if (*least < (1 - kGain) * medians_[0]) chosen_ = static_cast<std::size_t>(least - medians_.begin());
}

std::string BucketTuning::report() const {
  std::string text =
      fmt::format("buckets of gradients: {}; from the first gradient to the last sum", size_name(bytes()));
  for (std::size_t i = 0; i < kBytes.size(); ++i)
    text += fmt::format("{} {:.4g} ms with {}", i == 0 ? "" : ",", 1e3 * medians_[i], size_name(kBytes[i]));
  return text;
}

}  // namespace brigade::training
