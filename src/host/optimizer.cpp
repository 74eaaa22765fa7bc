// Updates of weights. One pass each, in blocks over the threads; the loops are plain and GCC vectorises them.
// Memory passes: Blend reads 2, writes 1; Sgd reads 3, writes 2; Adam reads 4, writes 3.
#include "brigade/ops/optimizer.hpp"

#include <cmath>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

// The loops take their numbers by value: through a reference, GCC would have to fear that a store changes them.

template <class X, class Y>
void blend(std::int64_t n, float keep, float add, const X* x, Y* y) {
  over_lanes(
      n, [&](std::int64_t i, auto lanes) { lanes.store(y + i, keep * lanes.load(y + i) + add * lanes.load(x + i)); });
}

// What y held before does not count, not even a NaN.
template <class X, class Y>
void replace(std::int64_t n, float add, const X* x, Y* y) {
  over_lanes(n, [&](std::int64_t i, auto lanes) { lanes.store(y + i, add * lanes.load(x + i)); });
}

template <class X, class Y>
void blend_as(const ops::Blend& op, const ops::Blend::Update& t, bool dense) {
  const X* x = t.x.as<X>();
  Y* y = t.y.as<Y>();
  for_each_run(t.y.shape, dense, [&](std::int64_t row, std::int64_t column, std::int64_t n) {
    const X* from = x + row * t.x.pitch + column;
    Y* to = y + row * t.y.pitch + column;
    if (op.keep == 0)
      replace(n, op.add, from, to);
    else
      blend(n, op.keep, op.add, from, to);
  });
}

// Sgd's two variants are w -= from_g * g + from_v * v.
struct SgdNumbers {
  float momentum, decay, from_g, from_v;
};
void sgd(std::int64_t n, SgdNumbers by, const float* __restrict gradient, float* __restrict w, float* __restrict v) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] + by.decay * w[i];
    v[i] = by.momentum * v[i] + g;
    w[i] -= by.from_g * g + by.from_v * v[i];
  }
}

struct AdamNumbers {
  float b1, b2, decay, epsilon;
  float rate;       // learning rate / (1 - b1^step)
  float correct_v;  // 1 / (1 - b2^step)
};
void adam(std::int64_t n, AdamNumbers by, const float* __restrict gradient, float* __restrict w, float* __restrict m,
          float* __restrict v) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] + by.decay * w[i];
    m[i] = by.b1 * m[i] + (1 - by.b1) * g;
    v[i] = by.b2 * v[i] + (1 - by.b2) * g * g;
    w[i] -= by.rate * m[i] / (std::sqrt(v[i] * by.correct_v) + by.epsilon);
  }
}

}  // namespace

void HostBackend::update(const ops::Blend& op, const ops::Blend::Update& t) {
  const bool dense = t.x.dense() && t.y.dense();
  EXPECT(dense ? t.x.shape.size() == t.y.shape.size() : t.x.shape == t.y.shape);
  with_element(t.x.dtype, [&](auto x) {
    with_element(t.y.dtype,
                 [&](auto y) { blend_as<typename decltype(x)::Type, typename decltype(y)::Type>(op, t, dense); });
  });
}

void HostBackend::update(const ops::Sgd& op, const ops::Sgd::Update& t) {
  EXPECT(t.gradient.shape.size() == t.weights.shape.size() && t.velocity.shape.size() == t.weights.shape.size());
  EXPECT(t.gradient.dense() && t.weights.dense() && t.velocity.dense());
  const float* gradient = t.gradient.f32();
  float *w = t.weights.f32(), *v = t.velocity.f32();
  const SgdNumbers by{op.momentum, op.weight_decay, op.nesterov ? op.learning_rate : 0.0F,
                      op.nesterov ? op.learning_rate * op.momentum : op.learning_rate};
  for_each_run(t.weights.shape, true,
               [&](std::int64_t, std::int64_t i, std::int64_t n) { sgd(n, by, gradient + i, w + i, v + i); });
}

void HostBackend::update(const ops::Adam& op, const ops::Adam::Update& t) {
  EXPECT(t.gradient.shape.size() == t.weights.shape.size() && op.step >= 1);
  EXPECT(t.first_moment.shape.size() == t.weights.shape.size());
  EXPECT(t.second_moment.shape.size() == t.weights.shape.size());
  EXPECT(t.gradient.dense() && t.weights.dense() && t.first_moment.dense() && t.second_moment.dense());
  const float* gradient = t.gradient.f32();
  float *w = t.weights.f32(), *m = t.first_moment.f32(), *v = t.second_moment.f32();
  // 1 - b^step cancels while the step is small: in double, and of b as the moments see it (rounded to float).
  const auto correction = [&](float b) { return 1 - std::pow(static_cast<double>(b), static_cast<double>(op.step)); };
  const AdamNumbers by{op.beta1,
                       op.beta2,
                       op.weight_decay,
                       op.epsilon,
                       static_cast<float>(op.learning_rate / correction(op.beta1)),
                       static_cast<float>(1 / correction(op.beta2))};
  for_each_run(t.weights.shape, true,
               [&](std::int64_t, std::int64_t i, std::int64_t n) { adam(n, by, gradient + i, w + i, m + i, v + i); });
}

}  // namespace brigade::host
