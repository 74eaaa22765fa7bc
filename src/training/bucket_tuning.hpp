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

namespace brigade::training {

class BucketTuning {
 public:
  // Index 0 is the default; the last one is longer than any network.
  static constexpr std::array<std::size_t, 5> kBytes{4U << 20, 1U << 20, 2U << 20, 16U << 20, std::size_t{1} << 40};
  static constexpr int kWarmUp = 2, kRounds = 5;  // steps that do not count; steps with each size
  static constexpr double kGain = 0.03;

  // The size to be used in the next step.
  std::size_t bytes() const { return done() ? kBytes[chosen_] : kBytes[candidate()]; }
  bool done() const { return step_ == kSteps; }
  // How long a step took with it. Collective with the last one: from then on all ranks have the same size.
  void took(double seconds, communication::Communicator& communicator);
  // "buckets of 4 MiB (backward and sums take 12.3 ms; with 1 MiB 13.1 ms, ...)"
  std::string report() const;

 private:
  static constexpr int kSteps = kWarmUp + kRounds * static_cast<int>(kBytes.size());
  std::size_t candidate() const { return static_cast<std::size_t>(step_) % kBytes.size(); }

  int step_ = 0;
  std::size_t chosen_ = 0;
  std::array<std::vector<double>, kBytes.size()> seconds_;
  std::array<double, kBytes.size()> medians_{};  // of this rank, then the mean over ranks
};

}  // namespace brigade::training
