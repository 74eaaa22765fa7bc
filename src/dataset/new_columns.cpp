// Sixteen values of the new row (a third of a period of pixels) come from few neighbours in the old one, unless it
// shrinks to half or less: two registers hold them all, and a permutation picks. Otherwise a pixel is handled as a
// vector of four floats, whatever its channels: the lanes too many belong to the next pixel, which overwrites them.
// (Gathers of one value each take about twice the time of that.)
#include "new_columns.hpp"

#include <algorithm>

#include "lanes.hpp"

namespace brigade::dataset {
namespace {

using Pixel = float __attribute__((vector_size(16), aligned(4), may_alias));
Pixel load(const float* from) { return *reinterpret_cast<const Pixel*>(from); }

// Compiled for each number of channels.
template <std::int64_t channels>
void pick_pixels(const std::vector<Tap>& taps, const float* row, float* out) {
  for (const auto& [first, share] : taps) {
    const Pixel a = load(row + first), b = load(row + first + channels);
    *reinterpret_cast<Pixel*>(out) = a + share * (b - a);
    out += channels;
  }
}

}  // namespace

Tap tap(double place, std::int64_t extent) {
  const double inside = std::clamp(place, 0.0, static_cast<double>(extent - 1));
  const auto first = std::min(static_cast<std::int32_t>(inside), std::max(0, static_cast<std::int32_t>(extent) - 2));
  return {.first = first, .second_share = static_cast<float>(inside - first)};
}

NewColumns::NewColumns(std::int64_t count, std::int64_t channels)
    : channels_(channels), taps_(static_cast<std::size_t>(count)) {
  const std::size_t groups = (static_cast<std::size_t>(count * channels) + kLanes - 1) / kLanes;
  begin_.resize(groups);
  which_.resize(groups * kLanes);
  share_.resize(groups * kLanes);
}

void NewColumns::aim(double step, double from, std::int64_t extent, std::int64_t left) {
  for (std::size_t x = 0; x < taps_.size(); ++x) {
    taps_[x] = tap(step * static_cast<double>(x) + from, extent);
    taps_[x].first = (taps_[x].first - static_cast<std::int32_t>(left)) * static_cast<std::int32_t>(channels_);
  }
  in_lanes_ = kPicksLanes && plan_lanes();
}

// False: sixteen new values come from too many old ones.
bool NewColumns::plan_lanes() {
  const auto channels = static_cast<std::int32_t>(channels_);
  std::size_t x = 0;  // column and channel of the next value
  std::int32_t channel = 0;
  for (std::size_t group = 0; group < begin_.size(); ++group) {
    std::int32_t* which = which_.data() + group * kLanes;
    float* share = share_.data() + group * kLanes;
    std::int32_t low = taps_[x].first, high = 0;
    for (std::size_t i = 0; i < kLanes; ++i) {
      which[i] = taps_[x].first + channel;
      share[i] = taps_[x].second_share;
      low = std::min(low, taps_[x].first);
      high = std::max(high, taps_[x].first);
      if (++channel < channels) continue;
      channel = 0;
      x = std::min(x + 1, taps_.size() - 1);  // behind the last column, anything
    }
    if (high + 2 * channels > low + static_cast<std::int32_t>(2 * kLanes)) return false;
    begin_[group] = low;
    for (std::size_t i = 0; i < kLanes; ++i) which[i] -= low;
  }
  return true;
}

void NewColumns::operator()(const float* row, float* out) const {
  if (in_lanes_) {
    const auto second = static_cast<std::int32_t>(channels_);
    for (std::size_t group = 0; group < begin_.size(); ++group) {
      const float* begin = row + begin_[group];
      const Lanes low = load_lanes(begin), high = load_lanes(begin + kLanes);
      const LaneNumbers which = load_lanes(which_.data() + group * kLanes);
      const Lanes share = load_lanes(share_.data() + group * kLanes);
      const Lanes a = pick_lanes(low, high, which), b = pick_lanes(low, high, which + second);
      store_lanes(out + group * kLanes, a + share * (b - a));
    }
  } else if (channels_ == 3) {
    pick_pixels<3>(taps_, row, out);
  } else {
    pick_pixels<1>(taps_, row, out);
  }
}

}  // namespace brigade::dataset
