#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "../src/network/schedule.hpp"
#include "backends.hpp"
#include "brigade/core/error.hpp"
#include "brigade/network/zoo.hpp"
#include "support.hpp"

namespace brigade::network {
namespace {

using tests::SyntheticBatch;

// Every operation once; `joined`: ReLU follows its producer and is fused, else a dropout that drops nothing
// stands between them and keeps them apart.
Graph every_operation(bool joined = true, bool with_batch_norm = true, float rate = 0.3F) {
  GraphBuilder net("every-operation", "", 9, 11, 2);
  auto activate = [&, count = 0](NodeId x) mutable {
    const std::string number = std::to_string(++count);
    return net.relu(joined ? x : net.dropout(x, "apart" + number, 0), "relu" + number);
  };
  NodeId x = activate(net.conv2d(net.input(), "conv1", 5, 3, {.padding = GraphBuilder::Padding::same}));
  x = net.max_pool(x, "pool1", 2, 1);
  if (with_batch_norm) x = activate(net.batch_norm(x, "bn1"));
  x = activate(net.conv2d(x, "conv2", 6, 2, {.bias = false}));
  if (with_batch_norm) x = net.batch_norm(x, "bn2");
  x = net.average_pool(x, "pool2", 2, 1);
  x = net.relu(x, "relu");
  x = net.dropout(x, "dropout", rate);
  x = net.flatten(x);
  x = activate(net.dense(x, "dense1", 7));
  net.dense(x, "logits", 4);
  return std::move(net).finish();
}

// Every way in which tensors have several readers: shortcuts, branches, a sum of a tensor with itself, parts of a
// concatenation that others read, views of what others read.
Graph branches(bool joined = true, float rate = 0.3F) {
  GraphBuilder net("branches", "", 9, 8, 3);
  auto apart = [&, count = 0](NodeId x) mutable {
    return joined ? x : net.dropout(x, "apart" + std::to_string(++count), 0);
  };
  using Padding = GraphBuilder::Padding;
  const NodeId stem =
      net.relu6(apart(net.conv2d(net.input(), "stem", 6, 3, {.padding = Padding{.top = 1, .right = 2}})), "stem_clamp");
  NodeId x = net.conv2d(stem, "row", 6, {1, 5}, {.padding = Padding::same, .bias = false});
  const NodeId sum1 = net.relu(apart(net.add(stem, net.batch_norm(x, "norm1"), "sum1")), "sum1_relu");
  x = net.depthwise_conv2d(sum1, "depthwise", 3, {.padding = Padding::same, .bias = false});
  const NodeId middle = net.relu6(apart(net.batch_norm(x, "norm2")), "middle");
  x = net.conv2d(middle, "project", 6, 1, {.bias = false});
  const NodeId sum2 = net.add(sum1, net.batch_norm(x, "norm3", {.scale = false}), "sum2");
  const NodeId both = net.concat({sum2, stem, net.max_pool(sum1, "largest", 3, 1, Padding::same),
                                  net.average_pool(middle, "neighbours", 3, 1, Padding::same)},
                                 "both");
  x = net.add(both, net.conv2d(both, "mix", 24, 1, {}), "sum3", 0.4F);
  x = net.conv2d(net.relu(apart(x), "sum3_relu"), "last", 8, 1, {});
  const NodeId mean = net.global_average_pool(x, "mean");
  NodeId flat = net.relu(net.flatten(net.average_pool(x, "pool", 4, 4)), "positive");
  flat = net.dropout(flat, "dropout1", rate);
  NodeId dense = net.relu6(apart(net.dense(net.add(mean, mean, "double"), "dense", 9)), "dense_clamp");
  dense = net.dropout(dense, "dropout2", rate);
  net.dense(net.concat({flat, dense, mean}, "all"), "logits", 4);
  return std::move(net).finish();
}

// A small DenseNet with a residual block at its end: batch norms over growing concatenations, one inside another, whose
// parts have other readers; batch norms that can be normalised on read, and that cannot; sums in a chain.
Graph dense_blocks() {
  GraphBuilder net("dense-blocks", "", 8, 8, 3);
  using Padding = GraphBuilder::Padding;
  const auto norm_relu = [&](NodeId x, const std::string& name) {
    return net.relu(net.batch_norm(x, name), name + "_relu");
  };
  NodeId x = net.conv2d(net.input(), "stem", 5, 3, {.padding = Padding::same, .bias = false});
  x = net.max_pool(norm_relu(x, "stem_norm"), "stem_pool", 3, 1, Padding::same);
  for (int i = 0; i < 3; ++i) {
    const std::string name = "layer" + std::to_string(i);
    NodeId y = net.conv2d(norm_relu(x, name + "_norm1"), name + "_conv1", 6, 1, {.bias = false});
    y = net.conv2d(norm_relu(y, name + "_norm2"), name + "_conv2", 3, 3, {.padding = Padding::same, .bias = false});
    x = net.concat({x, y}, name);
  }
  x = net.average_pool(net.conv2d(norm_relu(x, "narrow_norm"), "narrow", 6, 1, {.bias = false}), "pool");
  const NodeId branch = norm_relu(net.depthwise_conv2d(x, "depthwise", 3, {.padding = Padding::same}), "branch_norm");
  const NodeId inner = net.concat({branch, net.max_pool(x, "max", 3, 1, Padding::same)}, "inner");
  x = net.concat({inner, branch, x}, "outer");
  for (int i = 0; i < 3; ++i) {
    const std::string name = "block" + std::to_string(i);
    NodeId y = net.conv2d(x, name + "_conv1", 4, 1, {.bias = false});
    y = net.conv2d(norm_relu(y, name + "_norm1"), name + "_conv2", 4, 3, {.padding = Padding::same, .bias = false});
    y = net.conv2d(norm_relu(y, name + "_norm2"), name + "_conv3", 24, 1, {.bias = false});
    x = net.relu(net.add(x, net.batch_norm(y, name + "_norm3"), name), name + "_relu");
  }
  net.dense(net.global_average_pool(norm_relu(x, "last_norm"), "mean"), "logits", 4);
  return std::move(net).finish();
}

// Operations of few networks: groups of channels, local response normalisation, scores times a factor.
Graph towers() {
  GraphBuilder net("towers", "", 9, 8, 4);
  using Padding = GraphBuilder::Padding;
  NodeId x = net.relu(net.conv2d(net.input(), "conv1", 6, 3, {.padding = Padding::same, .groups = 2}), "relu1");
  x = net.local_response_norm(x, "norm", {.size = 3, .bias = 1, .alpha = 0.5F});
  x = net.conv2d(x, "conv2", 9, 3, {.stride = 2, .padding = Padding::same, .groups = 3});
  x = net.average_pool(x, "pool", 3, 2, Padding::same, GraphBuilder::Mean::of_window);
  x = net.scale(net.dense(net.flatten(x), "dense", 4), "scale", 1.5F);
  return std::move(net).finish();
}

class ExecutorTest : public ::testing::TestWithParam<std::string> {
 protected:
  ops::Backend& backend() { return tests::backend_named(GetParam()); }
  std::vector<float> read(const ConstTensorView& view) { return tests::read(backend(), view); }
  void write(const TensorView& view, const std::vector<float>& values) { tests::write(backend(), view, values); }
  // Everything on.
  Passes all_passes() const {
    Passes all;
    for (const PassName& pass : pass_names()) all.*pass.enabled = true;
    return all;
  }
  void check_gradient(const Graph& graph, double error);  // of the largest element of a tensor

  // The gradients (without header and statistics) of a micro-batch.
  std::vector<float> gradients(Executor& executor, const MicroBatch& batch, float scale) {
    executor.forward(batch);
    executor.backward(scale, {});
    std::vector<float> all = read(executor.reduction());
    all.erase(all.begin(), all.begin() + executor.gradients_offset());
    return all;
  }
};

void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, double error) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 0;
  for (const float value : expected) largest = std::max<double>(largest, std::abs(value));
  for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], error * largest) << i;
}

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

TEST_P(ExecutorTest, FlatLayoutAndInitialValues) {
  const Graph graph = make_network("fashion-cnn");
  Executor executor(graph, backend(), {.max_batch = 2, .reduction_header = 3, .seed = 5});
  const std::vector<std::string> names = {"conv1/kernel",  "bn1/gamma",  "bn1/beta",      "conv2/kernel",
                                          "bn2/gamma",     "bn2/beta",   "dense1/kernel", "dense1/bias",
                                          "logits/kernel", "logits/bias"};
  ASSERT_EQ(executor.parameters().size(), names.size());
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const FlatTensor& tensor = executor.parameters()[i];
    EXPECT_EQ(tensor.name, names[i]);
    EXPECT_EQ(tensor.offset, offset) << "no gaps";
    EXPECT_EQ(tensor.decay, tensor.name.ends_with("/kernel")) << tensor.name;
    offset += tensor.size();
  }
  EXPECT_EQ(offset, parameter_count(graph));
  EXPECT_EQ(executor.parameters()[3].shape, Shape({5, 5, 32, 64}));
  EXPECT_EQ(executor.weights().shape, Shape({offset}));
  EXPECT_EQ(executor.gradients_offset(), 3 + 192);
  EXPECT_EQ(executor.reduction().shape, Shape({3 + 192 + offset}));
  EXPECT_EQ(executor.statistics_layout()[1].name, "bn1/moving_variance");
  EXPECT_EQ(executor.statistics_layout()[2].offset, 64);

  const std::vector<float> weights = read(executor.weights());
  const FlatTensor& kernel = executor.parameters()[3];  // tensor number 3
  const RandomKey key{.seed = 5, .purpose = Purpose::initial_weights, .stream = 3};
  const auto limit = static_cast<float>(std::sqrt(6.0 / (25 * 32 + 25 * 64)));
  for (const std::int64_t i : {std::int64_t{0}, std::int64_t{1}, std::int64_t{5002}, kernel.size() - 1})
    EXPECT_EQ(weights[static_cast<std::size_t>(kernel.offset + i)],
              (2 * to_uniform(random_u32(key, static_cast<std::uint64_t>(i))) - 1) * limit);
  EXPECT_EQ(weights[static_cast<std::size_t>(executor.parameters()[1].offset)], 1) << "gamma";
  EXPECT_EQ(weights[static_cast<std::size_t>(executor.parameters()[2].offset)], 0) << "beta";
  const std::vector<float> statistics = read(executor.statistics());
  EXPECT_EQ(statistics[31], 0) << "mean";
  EXPECT_EQ(statistics[32], 1) << "variance";
}

// Central differences of the mean loss by some weights of each tensor, through the whole network.
TEST_P(ExecutorTest, GradientIsTheDerivativeOfTheLoss) {
  check_gradient(every_operation(), 0.02);
  check_gradient(branches(), 0.04);  // a step crosses the kinks of more activations
  check_gradient(towers(), 0.02);
}

void ExecutorTest::check_gradient(const Graph& graph, double error) {
  SCOPED_TRACE(graph.name);
  const SyntheticBatch data(0, 6, graph);
  Executor executor(graph, backend(), {.max_batch = 6, .passes = all_passes()});
  const std::vector<float> gradient = gradients(executor, data.all(3), 1.0F / 6);
  const std::vector<float> weights = read(executor.weights());
  const auto loss_with = [&](std::size_t i, float change) {
    std::vector<float> changed = weights;
    changed[i] += change;
    write(executor.weights(), changed);
    executor.forward(data.all(3));
    return tests::mean(executor.loss());
  };
  constexpr float kStep = 5e-4F;
  for (const FlatTensor& tensor : executor.parameters()) {
    double largest = 0;
    for (std::int64_t i = 0; i < tensor.size(); ++i)
      largest = std::max<double>(largest, std::abs(gradient[static_cast<std::size_t>(tensor.offset + i)]));
    EXPECT_GT(largest, 0.02) << tensor.name;
    for (std::int64_t i = 0; i < tensor.size(); i += std::max<std::int64_t>(1, tensor.size() / 5)) {
      const auto at = static_cast<std::size_t>(tensor.offset + i);
      const double difference = (loss_with(at, kStep) - loss_with(at, -kStep)) / (2.0 * kStep);
      EXPECT_NEAR(gradient[at], difference, error * largest + 5e-4) << tensor.name << " " << i;
    }
  }
}

TEST_P(ExecutorTest, FusionChangesNothing) {
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
TEST_P(ExecutorTest, FusionChangesNothingInBranches) {
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

TEST_P(ExecutorTest, EvaluationEqualsTrainingPassWithoutNormAndDropout) {
  const Graph graph = make_network("lenet5");
  const SyntheticBatch data(2, 4, graph);
  Executor training(graph, backend(), {.max_batch = 4});
  Executor evaluation(graph, backend(), {.max_batch = 4, .training = false});
  training.forward(data.all());
  const std::vector<float> loss(training.loss().begin(), training.loss().end());
  EXPECT_TRUE(training.probabilities().empty());
  for (Executor* executor : {&training, &evaluation}) {
    executor->evaluate(data.all());
    for (std::size_t n = 0; n < 4; ++n) {
      EXPECT_EQ(executor->loss()[n], loss[n]);
      const std::span<const float> p = executor->probabilities().subspan(n * 10, 10);
      const auto label = static_cast<std::size_t>(data.labels[n]);
      EXPECT_NEAR(-std::log(p[label]), loss[n], 1e-5);
      EXPECT_EQ(std::ranges::count_if(p, [&](float q) { return q > p[label]; }), executor->label_rank()[n]);
    }
  }
  EXPECT_EQ(evaluation.arena_bytes(), planned_bytes(graph, 4, false));
  EXPECT_EQ(training.arena_bytes(), planned_bytes(graph, 4, true));
  EXPECT_LT(evaluation.arena_bytes(), training.arena_bytes());
  EXPECT_EQ(evaluation.reduction().shape.size(), 0);
  EXPECT_THROW(evaluation.forward(data.all()), OptionError);
}

TEST_P(ExecutorTest, SmallBatchInALargePlan) {
  const Graph graph = every_operation();
  const SyntheticBatch data(3, 8, graph);
  Executor large(graph, backend(), {.max_batch = 8}), small(graph, backend(), {.max_batch = 3});
  gradients(large, data.all(), 1);  // leaves something in the arena
  const std::vector<float> gradient = gradients(large, data.part(2, 3, 1), 1);
  EXPECT_EQ(gradient, gradients(small, data.part(2, 3, 1), 1));
  EXPECT_EQ(large.loss().size(), 3U);
  EXPECT_THROW(small.forward(data.part(0, 4)), OptionError);
  EXPECT_THROW(small.evaluate(data.part(0, 0)), OptionError);
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
    for (const Graph& graph : {every_operation(), branches(), dense_blocks(), towers()}) {
      const auto expected = results(graph, all_passes(), precision);
      for (const auto& [name, passes] : variants) {
        SCOPED_TRACE(graph.name + " without " + name);
        const auto actual = results(graph, passes, precision);
        for (std::size_t i = 0; i < expected.size(); ++i) compare(actual[i], expected[i]);
      }
    }
  }
};

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

// Weights and statistics may change between evaluations: folded kernels follow, and so does what an executor without
// training keeps of them.
TEST_P(ExecutorTest, EvaluationFollowsTheWeights) {
  const Graph graph = dense_blocks();
  const SyntheticBatch data(3, 4, graph);
  Passes apart = all_passes();
  disable(apart, "fold-batch-norm");
  Executor folded(graph, backend(), {.max_batch = 4, .passes = all_passes()});
  Executor plain(graph, backend(), {.max_batch = 4, .training = false, .passes = apart});
  Executor kept(graph, backend(), {.max_batch = 4, .training = false, .passes = all_passes()});
  const auto expect_equal = [&] {
    for (Executor* executor : {&folded, &plain, &kept}) executor->evaluate(data.all());
    for (std::size_t n = 0; n < 4; ++n) {
      EXPECT_NEAR(folded.loss()[n], plain.loss()[n], 1e-4);
      EXPECT_EQ(folded.loss()[n], kept.loss()[n]);
    }
    return tests::mean(folded.loss());
  };
  const double first = expect_equal();
  std::vector<float> weights = read(folded.weights());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] += 0.02F * static_cast<float>(i % 7) - 0.06F;
  for (Executor* executor : {&folded, &plain, &kept}) write(executor->weights(), weights);
  const double second = expect_equal();
  EXPECT_GT(std::abs(first - second), 1e-3);
  std::vector<float> statistics = read(folded.statistics());
  for (std::size_t i = 0; i < statistics.size(); ++i) statistics[i] += 0.1F * static_cast<float>(i % 5);
  for (Executor* executor : {&folded, &plain, &kept}) write(executor->statistics(), statistics);
  const double third = expect_equal();
  EXPECT_GT(std::abs(third - second), 1e-3);
  folded.forward(data.all());  // spoils the arena
  folded.backward(1, {});
  EXPECT_EQ(expect_equal(), third);
}

// With dropout: the masks belong to the place in the global batch.
TEST_P(ExecutorTest, MicroBatchesAddUp) {
  const Graph graph = every_operation(true, false);
  const SyntheticBatch data(4, 6, graph);
  Executor executor(graph, backend(), {.max_batch = 6});
  const std::vector<float> whole = gradients(executor, data.all(2), 1.0F / 6);
  std::vector<float> sum = gradients(executor, data.part(0, 3, 2), 1.0F / 6);
  const std::vector<float> rest = gradients(executor, data.part(3, 3, 2), 1.0F / 6);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += rest[i];
  expect_near(sum, whole, 1e-5);
  const std::vector<float> other_step = gradients(executor, data.all(3), 1.0F / 6);
  EXPECT_NE(other_step, whole) << "another step, another mask";
}

// Loss and gradients are linear in the target: a mix of two labels gives the mix of their gradients, smoothing that of
// all classes. Evaluation knows neither.
TEST_P(ExecutorTest, TargetsMayBeSpread) {
  constexpr float kShare = 0.75F, kSmoothing = 0.2F;
  const Graph graph = every_operation(true, true, 0);
  SyntheticBatch data(3, 5, graph);
  Executor sharp(graph, backend(), {.max_batch = 5});
  Executor smooth(graph, backend(), {.max_batch = 5, .label_smoothing = kSmoothing});
  const std::vector<std::int32_t> first = data.labels;
  std::vector<std::int32_t> second(5, 0);
  std::vector<float> expected, expected_loss(5, 0.0F);
  const auto add = [&](const std::vector<std::int32_t>& labels, float weight) {
    data.labels = labels;
    const std::vector<float> gradient = gradients(sharp, data.all(), 0.2F);
    expected.resize(gradient.size());
    for (std::size_t i = 0; i < gradient.size(); ++i) expected[i] += weight * gradient[i];
    for (std::size_t n = 0; n < 5; ++n) expected_loss[n] += weight * sharp.loss()[n];
  };
  add(first, (1 - kSmoothing) * kShare);
  add(second, (1 - kSmoothing) * (1 - kShare));
  for (std::int32_t k = 0; k < 4; ++k) add(std::vector<std::int32_t>(5, k), kSmoothing / 4);

  data.labels = first;
  const std::vector<float> share(5, kShare);
  MicroBatch batch = data.all();
  batch.mixed_labels = second.data();
  batch.label_share = share.data();
  expect_near(gradients(smooth, batch, 0.2F), expected, 1e-5);
  for (std::size_t n = 0; n < 5; ++n) EXPECT_NEAR(smooth.loss()[n], expected_loss[n], 1e-5);
  sharp.evaluate(data.all());
  smooth.evaluate(batch);
  for (std::size_t n = 0; n < 5; ++n) EXPECT_EQ(smooth.loss()[n], sharp.loss()[n]);
}

// Mean and unbiased variance straight from the images, and evaluation with them.
TEST_P(ExecutorTest, BatchStatistics) {
  GraphBuilder net("norm", "", 3, 5, 2);
  net.dense(net.flatten(net.batch_norm(net.input(), "bn")), "logits", 3);
  const Graph graph = std::move(net).finish();
  const SyntheticBatch data(5, 4, graph);
  Executor executor(graph, backend(), {.max_batch = 4, .reduction_header = 2});
  executor.forward(data.all());
  const std::vector<float> trained(executor.loss().begin(), executor.loss().end());
  const std::vector<float> reduction = read(executor.reduction());

  constexpr double kCount = 4 * 3 * 5;
  std::vector<float> biased(4);
  for (std::size_t c = 0; c < 2; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t i = c; i < data.images.size(); i += 2) sum += data.images[i];
    for (std::size_t i = c; i < data.images.size(); i += 2) squares += std::pow(data.images[i] - sum / kCount, 2);
    EXPECT_NEAR(reduction[2 + c], sum / kCount, 1e-6);
    EXPECT_NEAR(reduction[4 + c], squares / (kCount - 1), 1e-6);
    biased[c] = static_cast<float>(sum / kCount);
    biased[2 + c] = static_cast<float>(squares / kCount);
  }
  write(executor.statistics(), biased);
  executor.evaluate(data.all());
  for (std::size_t n = 0; n < 4; ++n) EXPECT_NEAR(executor.loss()[n], trained[n], 1e-5);
}

// Whatever gradient_ready() announces is final, falls to the header's end, and the header is the caller's.
TEST_P(ExecutorTest, GradientsBecomeReadyFromTheEnd) {
  const Graph graph = every_operation();
  const SyntheticBatch data(6, 4, graph);
  Executor executor(graph, backend(), {.max_batch = 4, .reduction_header = 3});
  constexpr float kUntouched = -77;
  write(executor.reduction(),
        std::vector<float>(static_cast<std::size_t>(executor.reduction().shape.size()), kUntouched));

  executor.forward(data.all());
  std::vector<std::int64_t> offsets;
  std::vector<std::vector<float>> snapshots;
  executor.backward(0.25F, [&](std::int64_t offset) {
    offsets.push_back(offset);
    snapshots.push_back(read(executor.reduction()));
  });

  std::vector<std::int64_t> expected;
  for (const FlatTensor& tensor : executor.parameters())
    if (tensor.name.ends_with("/kernel") || tensor.name.ends_with("/gamma"))
      expected.insert(expected.begin(), executor.gradients_offset() + tensor.offset);
  expected.back() = 3;
  EXPECT_EQ(offsets, expected);

  const std::vector<float> final = read(executor.reduction());
  for (std::size_t i = 0; i < offsets.size(); ++i)
    EXPECT_TRUE(std::equal(final.begin() + offsets[i], final.end(), snapshots[i].begin() + offsets[i])) << offsets[i];
  EXPECT_EQ(std::count(final.begin(), final.end(), kUntouched), 3) << "all but the header is overwritten";
  EXPECT_EQ(std::count(final.begin(), final.begin() + 3, kUntouched), 3);
}

// Layers before the first parameter, and the image, get no gradient; the network still learns.
TEST_P(ExecutorTest, NothingIsComputedBelowTheFirstParameter) {
  GraphBuilder net("front", "", 6, 6, 2);
  NodeId x = net.dropout(net.input(), "drop", 0.2F);
  x = net.max_pool(x, "pool");
  x = net.relu(x, "relu");
  net.dense(net.flatten(x), "logits", 3);
  const Graph graph = std::move(net).finish();
  const SyntheticBatch data(7, 4, graph);
  Executor executor(graph, backend(), {.max_batch = 4});
  const std::vector<float> gradient = gradients(executor, data.all(), 0.25F);
  const double before = tests::mean(executor.loss());
  std::vector<float> weights = read(executor.weights());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] -= 0.1F * gradient[i];
  write(executor.weights(), weights);
  executor.forward(data.all());
  EXPECT_LT(tests::mean(executor.loss()), before);
}

const auto name_of_backend = [](const auto& backend) { return backend.param; };
INSTANTIATE_TEST_SUITE_P(Backends, ExecutorTest, ::testing::ValuesIn(tests::backend_names()), name_of_backend);
INSTANTIATE_TEST_SUITE_P(Backends, PassesOff, ::testing::ValuesIn(tests::backend_names()), name_of_backend);

}  // namespace
}  // namespace brigade::network
