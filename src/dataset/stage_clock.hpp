// Where the time of a loop over images goes.
#pragma once

#include <cstddef>

#include "brigade/core/clock.hpp"

namespace brigade::dataset {

// Times the stages that each image goes through. Where these are short, only every 16th image is looked at, because
// reading the clock takes as long as copying a small image; the others are taken to be like it.
class StageClock {
 public:
  // `all`: every image is timed.
  explicit StageClock(bool all) : all_(all) {}
  void begin(std::size_t image) {
    timed_ = all_ || image % kOneOf == 0;
    if (timed_) watch_.lap();
  }
  // A stage of this image has ended.
  void end(double& stage_s) {
    if (timed_) stage_s += watch_.lap();
  }
  // Stretches the times of the stages to the time of the whole loop.
  template <class... Stages>
  void finish(Stages&... stages_s) const {
    const double timed_s = (stages_s + ...);
    if (timed_s > 0) ((stages_s *= loop_.elapsed() / timed_s), ...);
  }

 private:
  static constexpr std::size_t kOneOf = 16;
  bool all_, timed_ = false;
  Stopwatch loop_, watch_;
};

}  // namespace brigade::dataset
