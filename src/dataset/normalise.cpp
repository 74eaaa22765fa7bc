#include "normalise.hpp"

#include <algorithm>

#include "brigade/core/error.hpp"
#include "lanes.hpp"

namespace brigade::dataset {

Normaliser::Normaliser(const std::array<float, 3>& mean, const std::array<float, 3>& stddev, std::int64_t channels) {
  EXPECT(channels == 1 || channels == 3);
  for (std::size_t i = 0; i < kPeriod; ++i) {
    const std::size_t c = i % static_cast<std::size_t>(channels);
    scale_[i] = static_cast<float>(1.0 / (255.0 * stddev[c]));
    shift_[i] = static_cast<float>(-static_cast<double>(mean[c]) / stddev[c]);
  }
}

void Normaliser::finish() const {
  if (stream_) finish_streams();
}

// level.lanes(i) are the levels from i on, level.one(i) is the one at i.
template <class Level, class Store>
void Normaliser::write_with(std::size_t count, const Level& level, float* out, const Store& put) const {
  static_assert(kPeriod == 3 * kLanes);
  const std::size_t whole = count / kLanes * kLanes;
  const std::array scale{load_lanes(&scale_[0]), load_lanes(&scale_[kLanes]), load_lanes(&scale_[2 * kLanes])};
  const std::array shift{load_lanes(&shift_[0]), load_lanes(&shift_[kLanes]), load_lanes(&shift_[2 * kLanes])};
  std::size_t i = 0;
  for (; i + kPeriod <= count; i += kPeriod)
    for (std::size_t j = 0; j < 3; ++j) put(out + i + j * kLanes, level.lanes(i + j * kLanes) * scale[j] + shift[j]);
  for (std::size_t j = 0; i < whole; i += kLanes, ++j) put(out + i, level.lanes(i) * scale[j] + shift[j]);
  for (; i < count; ++i) out[i] = level.one(i) * scale_[i % kPeriod] + shift_[i % kPeriod];
}

template <class Level>
void Normaliser::write(std::size_t count, const Level& level, float* out) const {
  if (stream_ && reinterpret_cast<std::uintptr_t>(out) % sizeof(Lanes) == 0)
    write_with(count, level, out, stream_lanes);
  else
    write_with(count, level, out, store_lanes);
}

namespace {

template <class In>
struct Stored {
  const In* levels;
  Lanes lanes(std::size_t i) const { return load_lanes(levels + i); }
  float one(std::size_t i) const { return static_cast<float>(levels[i]); }
};

struct Between {
  const float *first, *second;
  float share;
  Lanes lanes(std::size_t i) const {
    const Lanes a = load_lanes(first + i);
    return a + share * (load_lanes(second + i) - a);
  }
  float one(std::size_t i) const { return first[i] + share * (second[i] - first[i]); }
};

}  // namespace

void Normaliser::operator()(std::span<const std::uint8_t> levels, float* out) const {
  write(levels.size(), Stored<std::uint8_t>{levels.data()}, out);
}
void Normaliser::operator()(std::span<const float> levels, float* out) const {
  write(levels.size(), Stored<float>{levels.data()}, out);
}
void Normaliser::between(const float* first, const float* second, float share, std::size_t count, float* out) const {
  write(count, Between{first, second, share}, out);
}

}  // namespace brigade::dataset
