// Repeats the training runs of tests/golden/training (PyTorch in double precision) and compares the losses.
#include <gtest/gtest.h>

#include <algorithm>

#include "backends.hpp"
#include "golden.hpp"
#include "support.hpp"

namespace brigade::tests {
namespace {

struct GoldenCase {
  std::string backend, run;
  double error;  // relative, of each loss
};

void PrintTo(const GoldenCase& c, std::ostream* out) { *out << c.run << " on " << c.backend; }

class GoldenTraining : public ::testing::TestWithParam<GoldenCase> {};

// The optimizer named in the file, on the executor's flat arrays.
class Optimizer {
 public:
  Optimizer(ops::Backend& backend, const nlohmann::json& options, std::int64_t size)
      : backend_(backend),
        options_(options),
        size_(size),
        first_(backend.memory(), static_cast<std::size_t>(size) * sizeof(float)),
        second_(backend.memory(), static_cast<std::size_t>(size) * sizeof(float)) {}

  void update(const TensorView& weights, const ConstTensorView& gradient) {
    const TensorView first(first_.data(), {size_}), second(second_.data(), {size_});
    const float rate = options_.at("learning_rate");
    if (options_.at("name") == "sgd")
      backend_.update(ops::Sgd{.learning_rate = rate, .momentum = options_.at("momentum")},
                      {.gradient = gradient, .weights = weights, .velocity = first});
    else
      backend_.update(ops::Adam{.learning_rate = rate,
                                .beta1 = options_.at("beta1"),
                                .beta2 = options_.at("beta2"),
                                .epsilon = options_.at("epsilon"),
                                .step = ++step_},
                      {.gradient = gradient, .weights = weights, .first_moment = first, .second_moment = second});
  }

 private:
  ops::Backend& backend_;
  nlohmann::json options_;
  std::int64_t size_, step_ = 0;
  Buffer first_, second_;
};

TEST_P(GoldenTraining, LossesEqualPyTorchs) {
  const nlohmann::json golden = load_golden("training/" + GetParam().run);
  const std::int64_t n = golden["batch"];
  const network::Graph graph = network::make_network(golden["network"], golden_options(golden));
  ASSERT_EQ(network::parameter_count(graph), golden["parameters"]);

  ops::Backend& backend = backend_named(GetParam().backend);
  network::Executor executor(graph, backend, {.max_batch = n, .seed = golden["seed"]});
  Optimizer optimizer(backend, golden["optimizer"], executor.weights().shape.size());
  const std::int64_t statistics = executor.statistics().shape.size();
  const std::int64_t parameters = executor.weights().shape.size();
  float* const reduction = executor.reduction().f32();

  std::vector<SyntheticBatch> batches;
  for (std::uint32_t i = 0; i < golden["batches"]; ++i) batches.emplace_back(i, n, graph);

  const std::vector<double> losses = golden["losses"];
  for (std::size_t step = 0; step < losses.size(); ++step) {
    executor.forward(batches[step % batches.size()].all(static_cast<std::int64_t>(step)));
    executor.backward(1.0F / static_cast<float>(n), {});
    EXPECT_NEAR(mean(executor.loss()), losses[step], GetParam().error * losses[step]) << "step " << step;
    if (statistics > 0)
      backend.update(ops::Blend{.keep = 0.9F, .add = 0.1F},
                     {.x = TensorView(reduction, {statistics}), .y = executor.statistics()});
    optimizer.update(executor.weights(), TensorView(reduction + executor.gradients_offset(), {parameters}));
  }

  executor.evaluate(batches[0].all());
  const double evaluation_loss = golden["evaluation_loss"];
  EXPECT_NEAR(mean(executor.loss()), evaluation_loss, GetParam().error * evaluation_loss);
}

std::vector<GoldenCase> cases() {
  std::vector<GoldenCase> all;
  for (const std::string& backend : backend_names())
    for (const char* run : {"fashion-cnn", "lenet5", "lenet5-adam", "tiny-model1", "tiny-model2"})
      all.push_back({.backend = backend, .run = run, .error = 1e-4});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Runs, GoldenTraining, ::testing::ValuesIn(cases()), [](const auto& run) {
  std::string name = run.param.backend + "_" + run.param.run;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace brigade::tests
