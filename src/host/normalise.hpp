// y = act((x - mean) * scale + beta), scale = gamma / sqrt(variance + epsilon): one expression, of the same rounded
// numbers, for all that normalise. So batch norm's forward, inference and backward, and the operations that normalise
// what they read (ops::Normalisation), agree to the bit.
#pragma once

#include <cmath>
#include <cstdint>

#include "activation.hpp"
#include "brigade/ops/normalisation.hpp"
#include "row_groups.hpp"

namespace brigade::host {

inline Vec normalise(Vec x, Vec mean, Vec scale, Vec beta) { return (x - mean) * scale + beta; }

inline double inverse_deviation(float variance, float epsilon) {
  return 1 / std::sqrt(static_cast<double>(variance) + static_cast<double>(epsilon));
}
inline float normal_scale(float gamma, float variance, float epsilon) {
  return static_cast<float>(gamma * inverse_deviation(variance, epsilon));
}

// A normalisation, ready to be applied to rows of pixels: arrays of [channels].
struct Normaliser {
  const float *mean = nullptr, *scale = nullptr, *beta = nullptr;
  ops::Activation activation = ops::Activation::none;

  explicit operator bool() const { return mean != nullptr; }
  // Of the channels from `first` on.
  Normaliser from(std::int64_t first) const { return {mean + first, scale + first, beta + first, activation}; }
};

// `memory` is for [channels] floats, and stays in use. No normalisation gives an empty normaliser.
inline Normaliser normaliser(const ops::Normalisation& by, float* memory) {
  if (!by) return {};
  const std::int64_t channels = by.mean.shape.size();
  for (std::int64_t c = 0; c < channels; ++c)
    memory[c] = normal_scale(by.gamma.f32()[c], by.variance.f32()[c], by.epsilon);
  return {by.mean.f32(), memory, by.beta.f32(), by.activation};
}

// to[r][c] = act(normalise(from(r)[c])) for rows [first, first + rows) of `channels` floats or bf16; rows share the
// loads of the coefficients.
template <ops::Activation kBy, class From, class To>
void normalise_rows(const From& from, std::int64_t rows, std::int64_t channels, const Normaliser& by, To* to,
                    std::int64_t to_pitch) {
  constexpr std::int64_t kRows = 4;
  const auto do_rows = [&](std::int64_t first, auto count) {
    // Looked up once, not for every vector: the compiler cannot know that the stores leave the tables alone.
    decltype(from(0)) froms[kRows];
    for (std::int64_t r = 0; r < count; ++r) froms[r] = from(first + r);
    To* const tos = to + first * to_pitch;
    over_lanes(channels, [&](std::int64_t c, auto lanes) {
      const Vec mean = lanes.load(by.mean + c), scale = lanes.load(by.scale + c), beta = lanes.load(by.beta + c);
      for (std::int64_t r = 0; r < count; ++r)
        lanes.store(tos + r * to_pitch + c, activate<kBy>(normalise(lanes.load(froms[r] + c), mean, scale, beta)));
    });
  };
  over_row_groups<kRows>(rows, do_rows);
}

}  // namespace brigade::host
