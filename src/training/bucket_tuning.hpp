// How many bytes of gradients to sum at once, found in the first steps (--bucket auto).
//
// Long buckets use links better, short ones leave earlier and can hide behind more of backward; which counts depends on
// the network, the links and the ranks. So the first steps try each size in turn, and take the time from the first
// finished gradient to the last sum. After kRounds rounds the ranks agree on the size whose median time, added over
// ranks, is the least; the default stays if none is kGain better, for noise would choose otherwise.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/training/trainer.hpp"

namespace brigade::training {

// Of `all` bytes, without tuning. Long, so that links are used well; but the bucket that is complete when backward is
// cannot hide behind it, so an eighth of all, but 256 KiB (a shorter one saves nothing that a message does not cost) to
// 4 MiB; unless options.bucket_bytes says otherwise.
std::size_t bucket_bytes_of(const TrainOptions& options, std::size_t all);

class BucketTuning {
 public:
  static constexpr std::size_t kSizes = 5;
  static constexpr int kWarmUp = 2, kRounds = 5;  // steps that do not count; steps with each size
  static constexpr double kGain = 0.03;

  // `all`: bytes of everything that is summed in a step.
  explicit BucketTuning(std::size_t all);

  // The size to be used in the next step.
  std::size_t bytes() const { return bytes_[done() ? chosen_ : candidate()]; }
  bool done() const { return step_ == kSteps; }
  // How long a step took with it. Collective with the last one: from then on all ranks have the same size.
  void took(double seconds, communication::Communicator& communicator);
  // "buckets of gradients: 512 KiB; from the first gradient to the last sum 12.3 ms with 512 KiB, 13.1 ms with ..."
  std::string report() const;

 private:
  static constexpr int kSteps = kWarmUp + kRounds * static_cast<int>(kSizes);
  std::size_t candidate() const { return static_cast<std::size_t>(step_) % kSizes; }

  std::array<std::size_t, kSizes> bytes_;  // the first one is what is taken without tuning, the last one all
  int step_ = 0;
  std::size_t chosen_ = 0;
  std::array<std::vector<double>, kSizes> seconds_;
  std::array<double, kSizes> medians_{};  // of this rank, then the mean over ranks
};

}  // namespace brigade::training
