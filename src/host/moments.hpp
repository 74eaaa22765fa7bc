// Mean and variance per channel of many values, measured in parts and combined.
//
// A part is a few rows; its sums run down the rows in registers and L1, in float, about a shift close to the part's
// mean, so that nothing cancels when the mean is far larger than the deviation. The parts are combined in their order,
// in double, by
//   mean = sum(n_p mean_p) / n,   M2 = sum(M2_p + n_p (mean_p - mean)^2)
// (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
// What the parts are must follow from shapes alone: then so do the bits.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lanes.hpp"
#include "row_groups.hpp"

namespace brigade::host {

// The moments of one part, per entry of a row.
struct Moments {
  float *shift, *sum, *squares;  // sum of (x - shift), of (x - shift)^2
};

// The moments of all parts in one piece of memory.
class MomentsTable {
 public:
  static std::int64_t size(std::int64_t parts, std::int64_t width) { return parts * 3 * width; }
  MomentsTable() = default;
  MomentsTable(float* memory, std::int64_t width) : memory_(memory), width_(width) {}

  explicit operator bool() const { return memory_ != nullptr; }
  // Of the entries from `first` on.
  Moments part(std::int64_t i, std::int64_t first = 0) const {
    float* at = memory_ + i * 3 * width_ + first;
    return {at, at + width_, at + 2 * width_};
  }

 private:
  float* memory_ = nullptr;
  std::int64_t width_ = 0;
};

inline constexpr std::int64_t kMomentRows = 8;  // summed in registers before L1 is touched

// A part begins: its shift is the mean of (at most eight of) the given rows of `width` floats; row(r) points to the
// r-th.
template <class Row>
void begin_moments(const Row& row, std::int64_t rows, std::int64_t width, const Moments& to) {
  const std::int64_t sample = std::min(rows, kMomentRows);
  over_lanes(width, [&](std::int64_t c, auto lanes) {
    Vec sum{};
    for (std::int64_t r = 0; r < sample; ++r) sum += lanes.load(row(r) + c);
    lanes.store(to.shift + c, sum * (1.0F / static_cast<float>(sample)));
    lanes.store(to.sum + c, Vec{});
    lanes.store(to.squares + c, Vec{});
  });
}

// Adds rows to a part that has begun.
template <class Row>
void add_moments(const Row& row, std::int64_t rows, std::int64_t width, const Moments& to) {
  const auto add_rows = [&](std::int64_t first, auto count) {
    over_lanes(width, [&](std::int64_t c, auto lanes) {
      const Vec shift = lanes.load(to.shift + c);
      Vec sum{}, squares{};
      for (std::int64_t r = first; r < first + count; ++r) {
        const Vec difference = lanes.load(row(r) + c) - shift;
        sum += difference;
        squares += difference * difference;
      }
      lanes.store(to.sum + c, lanes.load(to.sum + c) + sum);
      lanes.store(to.squares + c, lanes.load(to.squares + c) + squares);
    });
  };
  over_row_groups<kMomentRows>(rows, add_rows);
}

// A part whose rows are at hand all at once.
template <class Row>
void measure(const Row& row, std::int64_t rows, std::int64_t width, const Moments& to) {
  begin_moments(row, rows, width, to);
  add_moments(row, rows, width, to);
}

// Which values a part holds: `rows` of them for each of its first `width` entries. Entry e belongs to channel
// e % channels.
struct MomentsPart {
  std::int64_t rows, width;
};

// Mean and variance (divided by `count`) per channel from the moments of all parts.
template <class PartOf>
void combine_moments(const MomentsTable& moments, std::int64_t parts, const PartOf& part_of, std::int64_t channels,
                     std::int64_t count, float* mean, float* variance) {
  constexpr std::int64_t kBlock = 64;  // channels
  for_each_part((channels + kBlock - 1) / kBlock, [&](std::int64_t block) {
    const std::int64_t begin = block * kBlock, end = std::min(channels, begin + kBlock);
    const auto n = static_cast<double>(count);
    double total[kBlock] = {}, deviation[kBlock] = {};
    for (std::int64_t i = 0; i < parts; ++i) {
      const MomentsPart part = part_of(i);
      const auto rows = static_cast<double>(part.rows);
      for (std::int64_t base = 0; base < part.width; base += channels) {
        const Moments m = moments.part(i, base);
        for (std::int64_t c = begin; c < end; ++c) total[c - begin] += rows * m.shift[c] + m.sum[c];
      }
    }
    for (std::int64_t i = 0; i < parts; ++i) {
      const MomentsPart part = part_of(i);
      const auto rows = static_cast<double>(part.rows);
      for (std::int64_t base = 0; base < part.width; base += channels) {
        const Moments m = moments.part(i, base);
        for (std::int64_t c = begin; c < end; ++c) {
          const double sum = m.sum[c], away = m.shift[c] + sum / rows - total[c - begin] / n;
          deviation[c - begin] += m.squares[c] - sum * sum / rows + rows * away * away;
        }
      }
    }
    for (std::int64_t c = begin; c < end; ++c) {
      mean[c] = static_cast<float>(total[c - begin] / n);
      variance[c] = static_cast<float>(deviation[c - begin] < 0 ? 0 : deviation[c - begin] / n);
    }
  });
}

}  // namespace brigade::host
