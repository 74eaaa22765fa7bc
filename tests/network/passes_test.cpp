// Networks compute the same with passes and without.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "../src/network/schedule.hpp"
#include "executor_fixture.hpp"
#include "executor_graphs.hpp"

namespace brigade::network {
namespace {

using tests::branches;
using tests::dense_blocks;
using tests::every_operation;
using tests::stages;
using tests::SyntheticBatch;
using tests::towers;

// By the length of the difference: rounding to bf16 now and then moves a value across the edge of a ReLU, and then one
// gradient jumps.
void expect_close(const std::vector<float>& actual, const std::vector<float>& expected, double error) {
  ASSERT_EQ(actual.size(), expected.size());
  double squares = 0, of_difference = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    squares += std::pow(expected[i], 2);
    of_difference += std::pow(actual[i] - expected[i], 2);
  }
  EXPECT_LE(std::sqrt(of_difference), error * std::sqrt(squares));
}

class PassesOff : public ExecutorTest {
 protected:
  // What a network computes in two steps of training and an evaluation.
  std::vector<std::vector<float>> results(const Graph& graph, const Passes& passes, Precision precision) {
    const SyntheticBatch data(2, 5, graph);
    Executor executor(graph, backend(), {.max_batch = 6, .passes = passes, .precision = precision});
    std::vector<std::vector<float>> all;
    for (std::int64_t step = 0; step < 2; ++step) {  // the second in an arena full of numbers
      executor.forward(data.all(step));
      executor.backward(0.2F, {});
      all.push_back(read(executor.reduction()));
    }
    write(executor.statistics(),
          std::vector<float>(static_cast<std::size_t>(executor.statistics().shape.size()), 0.7F));
    executor.evaluate(data.all());
    all.emplace_back(executor.probabilities().begin(), executor.probabilities().end());
    Executor evaluation(graph, backend(),
                        {.max_batch = 5, .training = false, .passes = passes, .precision = precision});
    write(evaluation.statistics(), read(executor.statistics()));
    evaluation.evaluate(data.all());
    EXPECT_EQ(all.back(), std::vector<float>(evaluation.probabilities().begin(), evaluation.probabilities().end()));
    return all;
  }

  // Everything on, against each pass off, and all of them.
  template <class Compare>
  void check(Precision precision, const Compare& compare) {
    std::vector<std::pair<std::string, Passes>> variants;
    Passes none;
    for (const PassName& pass : pass_names()) {
      Passes passes = all_passes();
      disable(passes, pass.name);
      variants.emplace_back(pass.name, passes);
      none.*pass.enabled = false;
    }
    variants.emplace_back("all", none);
    for (const Graph& graph : {every_operation(), branches(), dense_blocks(), stages(), towers()}) {
      const auto expected = results(graph, all_passes(), precision);
      for (const auto& [name, passes] : variants) {
        SCOPED_TRACE(graph.name + " without " + name);
        const auto actual = results(graph, passes, precision);
        for (std::size_t i = 0; i < expected.size(); ++i) compare(actual[i], expected[i]);
      }
    }
  }
};

TEST_P(PassesOff, FusionChangesNothing) {
  const SyntheticBatch data(1, 5, every_operation());
  Executor joined(every_operation(true, true, 0), backend(), {.max_batch = 5});
  Executor apart(every_operation(false, true, 0), backend(), {.max_batch = 5});
  ASSERT_EQ(joined.graph().nodes.size() + 8, apart.graph().nodes.size()) << "four ReLUs and what keeps them apart";
  expect_near(gradients(joined, data.all(), 0.2F), gradients(apart, data.all(), 0.2F), 1e-6);
  joined.evaluate(data.all());
  apart.evaluate(data.all());
  for (std::size_t n = 0; n < 5; ++n) EXPECT_NEAR(joined.loss()[n], apart.loss()[n], 1e-6);
}

// Another graph, another plan of the memory, the same numbers: nobody reads what was overwritten.
TEST_P(PassesOff, FusionChangesNothingInBranches) {
  const SyntheticBatch data(1, 5, branches());
  Executor joined(branches(true, 0), backend(), {.max_batch = 5});
  Executor apart(branches(false, 0), backend(), {.max_batch = 5});
  ASSERT_EQ(joined.graph().nodes.size() + 10, apart.graph().nodes.size());
  expect_near(gradients(joined, data.all(), 0.2F), gradients(apart, data.all(), 0.2F), 1e-5);
  joined.evaluate(data.all());
  apart.evaluate(data.all());
  for (std::size_t n = 0; n < 5; ++n) EXPECT_NEAR(joined.loss()[n], apart.loss()[n], 1e-5);
  Executor evaluation(branches(true, 0), backend(), {.max_batch = 5, .training = false});
  evaluation.evaluate(data.all());
  joined.evaluate(data.all());
  for (std::size_t n = 0; n < 5; ++n) EXPECT_EQ(joined.loss()[n], evaluation.loss()[n]);
}

// Switching passes off, one by one and all together, changes neither training nor evaluation.
TEST_P(PassesOff, ChangesNothing) {
  check(Precision::fp32, [](const auto& actual, const auto& expected) { expect_near(actual, expected, 2e-5); });
}

// Here a statistic may be that of the values before their rounding, and what is normalised on read may be rounded once
// less. Through the batch norms of dense_blocks, over 80 and 20 values a channel, that changes gradients by 15 %; a
// tensor that was overwritten changes them altogether.
TEST_P(PassesOff, ChangesLittleInBf16) {
  if (GetParam() == "reference") GTEST_SKIP() << "it knows floats only";
  check(Precision::bf16, [](const auto& actual, const auto& expected) { expect_close(actual, expected, 0.25); });
}

// Exactly, where without the pass rounding errors are left.
TEST_P(PassesOff, CancelledBiasesHaveNoGradient) {
  const Graph graph = dense_blocks();
  const SyntheticBatch data(1, 5, graph);
  Passes off;
  off.cancel_bias = false;
  for (const Passes& passes : {Passes{}, off}) {
    Executor executor(graph, backend(), {.max_batch = 5, .passes = passes});
    const std::vector<float> all = gradients(executor, data.all(), 0.2F);
    const auto expect_none = [&](const std::string& name, double rounding) {
      const auto tensor = std::ranges::find(executor.parameters(), name, &FlatTensor::name);
      ASSERT_NE(tensor, executor.parameters().end());
      for (std::int64_t i = 0; i < tensor->size(); ++i)
        EXPECT_NEAR(all[static_cast<std::size_t>(tensor->offset + i)], 0, rounding) << name;
    };
    for (const char* name : {"depthwise/bias", "block0_conv3/bias", "block2_conv3/bias"})
      expect_none(name, passes.cancel_bias ? 0 : 1e-5);
  }
}

// So that it says something about values computed again.
TEST(PassesOffCases, RecomputeSumsInAChain) {
  const Schedule schedule = make_schedule(dense_blocks(), true, {});
  const auto recomputed = [&](const std::string& name) {
    const auto node = std::ranges::find(schedule.graph.nodes, name, &Node::name);
    return node != schedule.graph.nodes.end() &&
           schedule.at(static_cast<NodeId>(node - schedule.graph.nodes.begin())).recomputed;
  };
  EXPECT_TRUE(recomputed("block0"));
  EXPECT_TRUE(recomputed("block1")) << "from block0";
}

INSTANTIATE_TEST_SUITE_P(Backends, PassesOff, ::testing::ValuesIn(tests::backend_names()), name_of_backend);

}  // namespace
}  // namespace brigade::network
