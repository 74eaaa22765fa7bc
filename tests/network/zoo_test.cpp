// Every network of the zoo through one training step on small images: the loss changes along the gradient as fast as
// the gradient says. One number a network, but each parameter and each reader of each tensor has its share in it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends.hpp"
#include "brigade/network/zoo.hpp"
#include "support.hpp"

namespace brigade::network {
namespace {

class ZooStep : public ::testing::TestWithParam<ZooEntry> {};

std::int64_t small_image(std::string_view name) {
  if (name.starts_with("inception")) return 107;
  if (name.starts_with("wide-resnet")) return 16;
  if (name == "alexnet" || name.starts_with("tiny-model")) return 64;
  return name == "lenet5" || name == "fashion-cnn" ? 28 : 40;
}

TEST_P(ZooStep, LossFollowsTheGradient) {
  ops::Backend& backend = tests::backend_named("host");
  const std::int64_t extent = small_image(GetParam().name), n = 8;
  const Graph graph = GetParam().make({.height = extent, .width = extent, .classes = 10});
  Executor executor(graph, backend, {.max_batch = n});
  const tests::SyntheticBatch data(0, n, graph);
  executor.forward(data.all());
  const double loss = tests::mean(executor.loss());
  EXPECT_GT(loss, 1);
  EXPECT_LT(loss, 20);
  executor.backward(1.0F / static_cast<float>(n), {});

  const std::int64_t count = executor.weights().shape.size();
  const std::vector<float> weights = tests::read(backend, executor.weights());
  const std::vector<float> gradient =
      tests::read(backend, TensorView(executor.reduction().f32() + executor.gradients_offset(), {count}));
  double squares = 0;
  for (const float g : gradient) squares += static_cast<double>(g) * g;
  // The loss at some distance along the gradient, and the change of it that the gradient predicts (of the weights as
  // rounded).
  struct Change {
    double loss, predicted = 0;
  };
  const auto change_at = [&](double distance) {
    std::vector<float> moved = weights;
    Change change{};
    for (std::size_t i = 0; i < moved.size(); ++i) {
      moved[i] += static_cast<float>(distance * gradient[i]);
      change.predicted += static_cast<double>(gradient[i]) * (moved[i] - weights[i]);
    }
    tests::write(backend, executor.weights(), moved);
    executor.forward(data.all());
    change.loss = tests::mean(executor.loss());
    return change;
  };
  // Far enough to stand out from the rounding of activations (gradients are large where batch norm sees few pixels),
  // near enough for the curve to be a line (networks without batch norm are flat).
  const double distance = std::min(0.003 / squares, 2e-4);
  const Change up = change_at(distance), down = change_at(-distance);
  EXPECT_NEAR((up.loss - down.loss) / (up.predicted - down.predicted), 1, 0.015);
}

INSTANTIATE_TEST_SUITE_P(Networks, ZooStep, ::testing::ValuesIn(zoo().begin(), zoo().end()), [](const auto& entry) {
  std::string name(entry.param.name);
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace brigade::network
