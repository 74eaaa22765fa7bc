#include "winograd_weights.hpp"

#include <algorithm>

#include "ceil_div.hpp"
#include "lanes.hpp"
#include "panels.hpp"
#include "parallel.hpp"
#include "winograd_transform.hpp"

namespace brigade::host {
namespace {

// Where a register of U's columns goes, at place 0.
struct Destination {
  float* to;
  std::int64_t place_step;
};

template <class Transform>
[[gnu::always_inline]] inline void transform(const Vec (&g)[9], const Destination& d) {
  Transform::weights([&](int y, int x) { return g[3 * y + x]; },
                     [&](int y, int x, Vec u) { store(d.to + (y * Transform::kPlaces + x) * d.place_step, u); });
}

// Channels [first, end) of a register of columns: the weights lie as U does.
template <class Transform>
void transform_channels(const WinogradFilter& f, std::int64_t column, int lanes, std::int64_t first, std::int64_t end,
                        const Destination& d, std::int64_t channel_step) {
  for (std::int64_t k = first; k < end; ++k) {
    const float* w = f.w + k * f.columns + column;
    Vec g[9];
    for (int tap = 0; tap < 9; ++tap) g[tap] = load_first(w + tap * f.channels * f.columns, lanes);
    transform<Transform>(g, {d.to + k * channel_step, d.place_step});
  }
}

// The same where columns are the rows of w: kLanes x kLanes of them are transposed in registers first.
template <class Transform>
void transform_transposed(const WinogradFilter& f, std::int64_t column, int lanes, std::int64_t first, std::int64_t end,
                          const Destination& d, std::int64_t channel_step) {
  Vec g[kLanes][9];
  for (int tap = 0; tap < 9; ++tap) {
    const float* w = f.w + ((8 - tap) * f.columns + column) * f.channels + first;
    Vec rows[kLanes];
    for (int i = 0; i < kLanes; ++i)
      rows[i] = i < lanes ? load_first(w + i * f.channels, static_cast<int>(end - first)) : Vec{};
    transpose(rows);
    for (int k = 0; k < kLanes; ++k) g[k][tap] = rows[k];
  }
  for (std::int64_t k = first; k < end; ++k)
    transform<Transform>(g[k - first], {d.to + k * channel_step, d.place_step});
}

}  // namespace

std::int64_t winograd_weights_size(const WinogradFilter& f, std::int64_t first, std::int64_t end) {
  const Panels panels(f.columns);
  const std::int64_t columns = end == panels.count() ? panels.padded_columns() : panels.first_column(end);
  return f.places() * f.channels * (columns - panels.first_column(first));
}

void transform_weights(const WinogradFilter& f, std::int64_t first, std::int64_t end, float* to) {
  const Panels panels(f.columns);
  const std::int64_t chunks = ceil_div(f.channels, kLanes);
  for_each_part((end - first) * chunks, [&](std::int64_t part) {
    const std::int64_t p = first + part / chunks, channel = part % chunks * kLanes;
    const std::int64_t channels_end = std::min(f.channels, channel + kLanes);
    const std::int64_t channel_step = panels.vectors(p) * kLanes;
    float* panel = to + winograd_weights_size(f, first, p);
    for (int j = 0; j < panels.vectors(p); ++j) {
      const int lanes = j == panels.vectors(p) - 1 ? panels.last_lanes(p) : kLanes;
      const std::int64_t column = panels.first_column(p) + j * kLanes;
      const Destination d{panel + j * kLanes, f.channels * channel_step};
      with_winograd(f.m, [&](auto t) {
        using Transform = decltype(t);
        const auto make = f.transposed ? transform_transposed<Transform> : transform_channels<Transform>;
        make(f, column, lanes, channel, channels_end, d, channel_step);
      });
    }
  });
}

}  // namespace brigade::host
