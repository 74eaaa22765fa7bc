#include "bucket_tuning.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "brigade/core/median.hpp"

namespace brigade::training {
namespace {

std::string in_kib(std::size_t bytes) { return fmt::format("{} KiB", bytes >> 10); }

}  // namespace

std::size_t bucket_bytes_of(const TrainOptions& options, std::size_t all) {
  if (options.bucket_bytes > 0) return options.bucket_bytes;
  constexpr std::size_t kMost = 4U << 20, kLeast = 256U << 10;
  return std::clamp(all / 8, kLeast, kMost);
}

BucketTuning::BucketTuning(std::size_t all) {
  const std::size_t usual = bucket_bytes_of({}, all);
  bytes_ = {usual, usual / 4, usual / 2, std::min(4 * usual, all), all};
}

void BucketTuning::took(double seconds, communication::Communicator& communicator) {
  if (step_ >= kWarmUp) seconds_[candidate()].push_back(seconds);
  if (++step_ < kSteps) return;
  for (std::size_t i = 0; i < kSizes; ++i) medians_[i] = median(seconds_[i]);
  communicator.sum(std::span<double>(medians_), "agreeing on the size of buckets");  // the same bits on all ranks
  for (double& median : medians_) median /= communicator.size();
  const auto least = std::ranges::min_element(medians_);
  if (*least < (1 - kGain) * medians_[0]) chosen_ = static_cast<std::size_t>(least - medians_.begin());
}

std::string BucketTuning::report() const {
  std::string text = fmt::format("buckets of gradients: {}; from the first gradient to the last sum", in_kib(bytes()));
  for (std::size_t i = 0; i < kSizes; ++i)
    text += fmt::format("{} {:.4g} ms with {}", i == 0 ? "" : ",", 1e3 * medians_[i], in_kib(bytes_[i]));
  return text;
}

}  // namespace brigade::training
