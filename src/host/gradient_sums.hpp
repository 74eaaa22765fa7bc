// What batch norm's backward pass must know before it can start: per channel, the sums of g and of g * (x - mean) over
// all pixels, g being dy where the activation let y through. They give dbeta and dgamma. Whoever makes dy can sum it
// while it is in a cache. As for moments (moments.hpp), the parts that are summed must follow from shapes alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "normalise.hpp"
#include "row_groups.hpp"

namespace brigade::host {

// The sums of one part, per entry of a row.
struct GradientSums {
  float *plain, *weighted;
};

// The sums of all parts in one piece of memory.
class GradientSumsTable {
 public:
  static std::int64_t size(std::int64_t parts, std::int64_t width) { return parts * 2 * width; }
  GradientSumsTable() = default;
  GradientSumsTable(float* memory, std::int64_t width) : memory_(memory), width_(width) {}

  explicit operator bool() const { return memory_ != nullptr; }
  // Of the entries from `first` on.
  GradientSums part(std::int64_t i, std::int64_t first = 0) const {
    float* at = memory_ + i * 2 * width_ + first;
    return {at, at + width_};
  }

 private:
  float* memory_ = nullptr;
  std::int64_t width_ = 0;
};

// dy where the activation let y = act(normalise(x)) through.
template <ops::Activation kBy>
inline Vec gradient_of(Vec dy, Vec x, Vec mean, Vec scale, Vec beta) {
  return masked<kBy>(dy, normalise(x, mean, scale, beta));
}

// What all pixels together give back: dx = scale * g - (offset + slope * (x - mean)).
struct GradientRest {
  float offset, slope;
};
inline GradientRest gradient_rest(float gamma, float variance, float epsilon, float dgamma, float dbeta,
                                  std::int64_t count) {
  const double inverse = inverse_deviation(variance, epsilon), scale = gamma * inverse;
  const auto n = static_cast<double>(count);
  return {static_cast<float>(scale * dbeta / n), static_cast<float>(scale * inverse * dgamma / n)};
}

enum class FirstRows : bool { no, yes };  // of a part: what the sums held before does not count

// Adds `rows` rows of `width` floats; x(r) and dy(r) point to the r-th.
template <ops::Activation kBy, class X, class Dy>
void add_gradients(const X& x, const Dy& dy, std::int64_t rows, std::int64_t width, const Normaliser& by,
                   FirstRows first_rows, const GradientSums& to) {
  constexpr std::int64_t kRows = 8;  // summed in registers before L1 is touched
  const auto add_rows = [&](std::int64_t first, auto count) {
    const bool fresh = first == 0 && first_rows == FirstRows::yes;
    over_lanes(width, [&](std::int64_t c, auto lanes) {
      const Vec mean = lanes.load(by.mean + c), scale = lanes.load(by.scale + c), beta = lanes.load(by.beta + c);
      Vec plain{}, weighted{};
      for (std::int64_t r = first; r < first + count; ++r) {
        const Vec value = lanes.load(x(r) + c);
        const Vec gradient = gradient_of<kBy>(lanes.load(dy(r) + c), value, mean, scale, beta);
        plain += gradient;
        weighted += gradient * (value - mean);
      }
      lanes.store(to.plain + c, fresh ? plain : lanes.load(to.plain + c) + plain);
      lanes.store(to.weighted + c, fresh ? weighted : lanes.load(to.weighted + c) + weighted);
    });
  };
  over_row_groups<kRows>(rows, add_rows);
}

// dgamma = weighted / sqrt(variance + epsilon) and dbeta = plain of all parts, added in their order, in double.
// width_of(i) is the i-th part's: entry e belongs to channel e % channels.
template <class WidthOf>
void combine_gradients(const GradientSumsTable& sums, std::int64_t parts, const WidthOf& width_of,
                       std::int64_t channels, const float* variance, float epsilon, float* dgamma, float* dbeta) {
  constexpr std::int64_t kBlock = 64;  // channels
  for_each_part((channels + kBlock - 1) / kBlock, [&](std::int64_t block) {
    const std::int64_t begin = block * kBlock, end = std::min(channels, begin + kBlock);
    double plain[kBlock] = {}, weighted[kBlock] = {};
    for (std::int64_t i = 0; i < parts; ++i) {
      const GradientSums sum = sums.part(i);
      for (std::int64_t base = 0; base < width_of(i); base += channels)
        for (std::int64_t c = begin; c < end; ++c) {
          plain[c - begin] += sum.plain[base + c];
          weighted[c - begin] += sum.weighted[base + c];
        }
    }
    for (std::int64_t c = begin; c < end; ++c) {
      dbeta[c] = static_cast<float>(plain[c - begin]);
      dgamma[c] = static_cast<float>(weighted[c - begin] * inverse_deviation(variance[c], epsilon));
    }
  });
}

}  // namespace brigade::host
