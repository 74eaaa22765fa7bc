// Ranks that keep the weights for the others, in step with them or not.
#include <gtest/gtest.h>

#include "ranks.hpp"

namespace brigade::training {
namespace {

TrainOptions served_options(const std::string& run, int servers) {
  auto options = options_for(run);
  options.network = "fashion-cnn";  // with batch norm
  options.micro_batches = 12;
  options.strategy = StrategyKind::parameter_server;
  options.servers = servers;
  options.bucket_bytes = 8U << 10;  // several messages a server
  return options;
}

// Servers' sums in rank order and their optimizer steps on ranges give what one rank gets by itself, but for rounding:
// weights, running statistics, the optimizer's state in the checkpoint, losses and the exact count of validation.
TEST(Training, SynchronousParameterServersAreMultiWorker) {
  for (int servers = 1; servers < world->size(); ++servers)
    for (const auto kind : {OptimizerKind::sgd, OptimizerKind::adam}) {
      auto options = served_options(fmt::format("served-{}-{}", servers, static_cast<int>(kind)), servers);
      options.max_steps = 4;
      options.epochs = 1;
      options.optimizer = {.kind = kind, .learning_rate = 0.002F, .weight_decay = 1e-3F};
      EXPECT_EQ(train(options, *backend, *world).code, ExitCode::done);
      world->barrier("the checkpoint");
      options.strategy = StrategyKind::multi_worker;
      train_alone(options);
      const fs::path alone = run_alone(options.run);
      const fs::path here = *newest_checkpoint(options.run / "checkpoints");
      const fs::path there = *newest_checkpoint(alone / "checkpoints");
      const Model a = load_model(here), b = load_model(there);
      EXPECT_LT(relative_distance(a.parameters, b.parameters), 1e-4);
      EXPECT_LT(relative_distance(a.statistics, b.statistics), 1e-4);
      EXPECT_LT(relative_distance(load_state(here).optimizer, load_state(there).optimizer), 1e-3);
      const auto expected = losses(alone), actual = losses(options.run);
      ASSERT_EQ(actual.size(), 4U);
      for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 1e-4) << "step " << i;
    }
}

TEST(Training, ParameterServersResumeBitForBit) {
  if (world->size() == 1) GTEST_SKIP() << "needs a server";
  auto options = served_options("served-whole", 1);
  options.epochs = 1;
  options.optimizer = {.kind = OptimizerKind::adam, .learning_rate = 0.002F};
  train(options, *backend, *world);
  auto interrupted = options;
  interrupted.run = scratch / "served-interrupted";
  interrupted.resume = true;
  for (const std::int64_t steps : {3, 0, 0}) {  // the last finds nothing left to do
    interrupted.max_steps = steps;
    EXPECT_EQ(train(interrupted, *backend, *world).code, ExitCode::done);
    world->barrier("the checkpoint");
  }
  expect_same_bits(load_model(*newest_checkpoint(options.run / "checkpoints")),
                   load_model(*newest_checkpoint(interrupted.run / "checkpoints")));
  EXPECT_EQ(losses(options.run), losses(interrupted.run));
}

// A failure that workers agree on is that of the servers, too.
TEST(Training, ServersEndAsWorkersDo) {
  if (world->size() == 1) GTEST_SKIP() << "needs a server";
  auto options = served_options("served-diverged", 1);
  options.optimizer.learning_rate = 1e30F;
  EXPECT_THROW(train(options, *backend, *world), DivergedError);
  options.asynchronous = true;
  options.run = scratch / "served-diverged-async";
  EXPECT_THROW(train(options, *backend, *world), DivergedError);
}

TEST(Training, AsynchronousWorkersLearn) {
  if (world->size() == 1) GTEST_SKIP() << "needs a server";
  for (const std::int64_t staleness : {0, 2}) {
    auto options = served_options(fmt::format("asynchronous-{}", staleness), world->size() > 3 ? 2 : 1);
    options.network = "lenet5";
    options.epochs = 4;
    options.asynchronous = true;
    options.staleness = staleness;
    const auto result = train(options, *backend, *world);
    if (world->rank() == 0) {
      EXPECT_EQ(result.summary.steps, 32);
      EXPECT_GT(*result.summary.val_accuracy, 0.8);
    }
  }
}

}  // namespace
}  // namespace brigade::training
