#include "brigade/training/running_averages.hpp"

#include <gtest/gtest.h>

#include <array>

#include "brigade/host/backend.hpp"

namespace brigade::training {
namespace {

// Two batch norms, with momenta of their own, measure the same one channel.
network::Graph two_momenta() {
  network::GraphBuilder net("two-momenta", "", 1, 1, 1);
  const auto half = net.batch_norm(net.input(), "half", {.momentum = 0.5F});
  const auto tenth = net.batch_norm(net.input(), "tenth", {.momentum = 0.9F});
  net.dense(net.flatten(net.add(half, tenth, "sum")), "scores", 2);
  return std::move(net).finish();
}

// Mean and variance of "half", then of "tenth", that were {0, 1, 0, 1}, after two micro-batches of two pixels.
std::array<float, 4> after_a_step(ops::Backend& backend, float share) {
  network::Executor executor(two_momenta(), backend, {.max_batch = 2});
  const TensorView measured{executor.reduction().data, {4}}, averages = executor.statistics();
  const Buffer sum_buffer(backend.memory(), measured.bytes());
  const TensorView sums{sum_buffer.data(), {4}};
  backend.update(ops::Blend{.keep = 0, .add = 0}, {.x = averages, .y = sums});
  for (const std::array<float, 2> pixels : {std::array{1.0F, 3.0F}, {5.0F, 9.0F}}) {
    const std::array<std::int32_t, 2> labels{0, 1};
    executor.forward({.images = pixels.data(), .labels = labels.data(), .n = 2});
    backend.update(ops::Blend{.keep = 1, .add = 1}, {.x = measured, .y = sums});
  }
  RunningAverages(executor.statistics_layout()).follow(backend, sums, averages, 2, share);
  std::array<float, 4> values{};
  backend.download(averages.data, values.data(), sizeof values);
  backend.synchronize();
  return values;
}

// Means 2 and 7, unbiased variances 2 and 8: together 4.5 and 5.
TEST(RunningAverages, EachFollowsWithTheMomentumOfItsLayer) {
  const host::Runtime runtime(1);
  const auto backend = host::make_backend();
  const auto expect = [&](float share, const std::array<float, 4>& expected) {
    const auto values = after_a_step(*backend, share);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(values[i], expected[i], 1e-6) << i << " with share " << share;
  };
  expect(1, {0.5F * 4.5F, 0.5F + 0.5F * 5, 0.1F * 4.5F, 0.9F + 0.1F * 5});
  expect(0.5F, {0.25F * 4.5F, 0.75F + 0.25F * 5, 0.05F * 4.5F, 0.95F + 0.05F * 5});
}

}  // namespace
}  // namespace brigade::training
