#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "brigade/core/error.hpp"
#include "brigade/network/zoo.hpp"
#include "executor_fixture.hpp"
#include "executor_graphs.hpp"
#include "reference_backend.hpp"

namespace brigade::network {
namespace {

using tests::branches;
using tests::dense_blocks;
using tests::every_operation;
using tests::SyntheticBatch;
using tests::towers;

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
class GradientTest : public ExecutorTest {
 protected:
  void check_gradient(const Graph& graph, double error);  // of the largest element of a tensor
};

TEST_P(GradientTest, IsTheDerivativeOfTheLoss) {
  check_gradient(every_operation(), 0.02);
  check_gradient(branches(), 0.04);  // a step crosses the kinks of more activations
  check_gradient(towers(), 0.02);
}

void GradientTest::check_gradient(const Graph& graph, double error) {
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

// Memory that is not the host's, as far as the executor knows.
class OtherMemory final : public MemoryResource {
  void* allocate(std::size_t bytes) override { return host_memory().allocate(bytes); }
  void deallocate(void* pointer, std::size_t bytes) noexcept override { host_memory().deallocate(pointer, bytes); }
};
class OtherBackend final : public tests::ReferenceBackend {
 public:
  MemoryResource& memory() override { return memory_; }

 private:
  OtherMemory memory_;
};

// In host memory the images are read where they are, and not written; elsewhere they are copied to the arena, once.
TEST(ExecutorImages, AreReadInPlaceOrUploaded) {
  const Graph graph = branches();
  SyntheticBatch data(2, 5, graph);
  const std::vector<float> images = data.images;
  OtherBackend other;
  for (const bool training : {true, false}) {
    Executor near(graph, tests::backend_named("reference"), {.max_batch = 5, .training = training});
    Executor far(graph, other, {.max_batch = 5, .training = training});
    EXPECT_GE(far.arena_bytes() - near.arena_bytes(), training ? 4 * static_cast<std::int64_t>(images.size()) : 0);
    for (Executor* executor : {&near, &far}) training ? executor->forward(data.all()) : executor->evaluate(data.all());
    EXPECT_EQ(tests::mean(near.loss()), tests::mean(far.loss()));
    if (!training) continue;
    near.backward(0.2F, {});
    EXPECT_EQ(data.images, images);
    std::ranges::fill(data.images, 0.0F);
    far.backward(0.2F, {});
    data.images = images;
    EXPECT_EQ(tests::read(other, near.reduction()), tests::read(other, far.reduction()));
  }
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

INSTANTIATE_TEST_SUITE_P(Backends, GradientTest, ::testing::ValuesIn(tests::backend_names()), name_of_backend);
INSTANTIATE_TEST_SUITE_P(Backends, ExecutorTest, ::testing::ValuesIn(tests::backend_names()), name_of_backend);

}  // namespace
}  // namespace brigade::network
