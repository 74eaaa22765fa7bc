// Updates of weights. One pass each, in blocks over the threads; GCC vectorises the plain loops.
// Memory passes: Blend reads 2, writes 1; Sgd reads 3, writes 2; Adam reads 4, writes 3.
#include "brigade/ops/optimizer.hpp"

#include <cmath>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {

void HostBackend::update(const ops::Blend& op, const ops::Blend::Update& t) {
  EXPECT(t.x.shape.size() == t.y.shape.size() && t.x.dense() && t.y.dense());
  const float* all_x = t.x.f32();
  float* all_y = t.y.f32();
  const float keep = op.keep, add = op.add;
  for_each_run(t.y.shape, true, [&](std::int64_t, std::int64_t begin, std::int64_t n) {
    const float* __restrict x = all_x + begin;
    float* __restrict y = all_y + begin;
    if (keep == 0) {  // what y held before does not count, not even a NaN
      for (std::int64_t i = 0; i < n; ++i) y[i] = add * x[i];
    } else {
      for (std::int64_t i = 0; i < n; ++i) y[i] = keep * y[i] + add * x[i];
    }
  });
}

void HostBackend::update(const ops::Sgd& op, const ops::Sgd::Update& t) {
  EXPECT(t.gradient.shape.size() == t.weights.shape.size() && t.velocity.shape.size() == t.weights.shape.size());
  EXPECT(t.gradient.dense() && t.weights.dense() && t.velocity.dense());
  const float* all_g = t.gradient.f32();
  float* all_w = t.weights.f32();
  float* all_v = t.velocity.f32();
  const float momentum = op.momentum, decay = op.weight_decay;
  // Both variants are w -= (from_g * g + from_v * v).
  const float from_g = op.nesterov ? op.learning_rate : 0.0F;
  const float from_v = op.nesterov ? op.learning_rate * op.momentum : op.learning_rate;
  for_each_run(t.weights.shape, true, [&](std::int64_t, std::int64_t begin, std::int64_t n) {
    const float* __restrict gradient = all_g + begin;
    float* __restrict w = all_w + begin;
    float* __restrict v = all_v + begin;
    for (std::int64_t i = 0; i < n; ++i) {
      const float g = gradient[i] + decay * w[i];
      v[i] = momentum * v[i] + g;
      w[i] -= from_g * g + from_v * v[i];
    }
  });
}

void HostBackend::update(const ops::Adam& op, const ops::Adam::Update& t) {
  EXPECT(t.gradient.shape.size() == t.weights.shape.size() && op.step >= 1);
  EXPECT(t.first_moment.shape.size() == t.weights.shape.size());
  EXPECT(t.second_moment.shape.size() == t.weights.shape.size());
  EXPECT(t.gradient.dense() && t.weights.dense() && t.first_moment.dense() && t.second_moment.dense());
  const float* all_g = t.gradient.f32();
  float* all_w = t.weights.f32();
  float* all_m = t.first_moment.f32();
  float* all_v = t.second_moment.f32();
  const float b1 = op.beta1, b2 = op.beta2, epsilon = op.epsilon, decay = op.weight_decay;
  // 1 - b^step loses digits in float when the step is small and b near 1. It is b, as the moments see it (rounded to
  // float), that must be corrected.
  const auto step = static_cast<double>(op.step);
  const auto rate = static_cast<float>(op.learning_rate / (1 - std::pow(static_cast<double>(b1), step)));
  const auto correct_v = static_cast<float>(1 / (1 - std::pow(static_cast<double>(b2), step)));
  for_each_run(t.weights.shape, true, [&](std::int64_t, std::int64_t begin, std::int64_t n) {
    const float* __restrict gradient = all_g + begin;
    float* __restrict w = all_w + begin;
    float* __restrict m = all_m + begin;
    float* __restrict v = all_v + begin;
    for (std::int64_t i = 0; i < n; ++i) {
      const float g = gradient[i] + decay * w[i];
      m[i] = b1 * m[i] + (1 - b1) * g;
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      w[i] -= rate * m[i] / (std::sqrt(v[i] * correct_v) + epsilon);
    }
  });
}

}  // namespace brigade::host
