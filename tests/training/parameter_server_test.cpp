// Ranks that keep the weights for the others, in step with them or not.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

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

// One row an update: what workers log of it is what the servers do, and each server answers with its part of the model.
TEST(Training, ServersLogTheirUpdates) {
  for (int servers = 1; servers < world->size(); ++servers) {
    auto options = served_options(fmt::format("served-logged-{}", servers), servers);
    options.max_steps = 10;  // of 8 an epoch
    options.optimizer.learning_rate = 0.004F;
    train(options, *backend, *world);
    const int workers = world->size() - servers;
    const auto of_worker = [&](const char* name) { return column(options.run, name); };
    double answered = 0;
    for (int rank = workers; rank < world->size(); ++rank) {
      const auto of_server = [&](const char* name) { return column(options.run, name, rank); };
      for (const char* name : {"step", "epoch", "learning_rate", "staleness"})
        EXPECT_EQ(of_server(name), of_worker(name)) << name << " of rank " << rank;
      if (rank == workers)
        EXPECT_EQ(of_server("loss"), of_worker("loss"));
      else
        EXPECT_TRUE(std::ranges::all_of(of_server("loss"), [](double loss) { return std::isnan(loss); }));
      const auto begin = of_server("start_s"), arrived = of_server("reduce_arrive_s"),
                 waited = of_server("reduce_wait_s"), updating = of_server("optimizer_s"), whole = of_server("step_s");
      for (std::size_t i = 0; i < begin.size(); ++i) {
        EXPECT_NEAR(begin[i] + waited[i], arrived[i], 1e-3);
        EXPECT_GT(updating[i], 0);
        EXPECT_LE(waited[i] + updating[i], whole[i] + 2e-6);
        EXPECT_EQ(of_server("images")[i], 0);
      }
      answered += of_server("sent_bytes").at(0);
    }
    EXPECT_EQ(answered, workers * of_worker("sent_bytes").at(0));  // a push of the whole array each
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
  const int server = world->size() - 1;
  EXPECT_EQ(column(options.run, "step", server), column(interrupted.run, "step", server));
  EXPECT_EQ(column(options.run, "loss", server), column(interrupted.run, "loss", server));
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

// Between the pull and the push of a worker that is up to S steps ahead or behind, another worker pushes at most 2 S +
// 1 times. What the server logs, the workers log, and the summary counts, is the same.
void expect_staleness(const TrainOptions& options, const telemetry::Summary& summary, int workers) {
  std::vector<std::int64_t> by_server, by_workers;
  const auto count = [&](int rank, std::vector<std::int64_t>& counts) {
    for (const double stale : column(options.run, "staleness", rank)) {
      ASSERT_GE(stale, 0);
      ASSERT_LE(stale, static_cast<double>((workers - 1) * (2 * options.staleness + 1)));
      counts.resize(std::max(counts.size(), static_cast<std::size_t>(stale) + 1));
      ++counts[static_cast<std::size_t>(stale)];
    }
  };
  count(workers, by_server);
  for (int worker = 0; worker < workers; ++worker) count(worker, by_workers);
  EXPECT_EQ(by_server, summary.gradients_by_staleness);
  EXPECT_EQ(by_workers, summary.gradients_by_staleness);
  EXPECT_EQ(std::accumulate(by_server.begin(), by_server.end(), std::int64_t{0}), workers * summary.steps);
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
      expect_staleness(options, result.summary, world->size() - options.servers);
    }
  }
}

// What asynchronous parameter servers do with --nesterov. Hakimi et al. 2019 give worker i the weights
// theta - rate * momentum * (v_1 + ... + v_W), which look ahead by the velocities of all workers, and move theta by
// rate * v_i; Nesterov's form keeps just these weights instead of theta, whichever worker's velocity it is applied
// with.
TEST(Optimizer, NesterovWithAVelocityForEachWorkerLooksAheadByAll) {
  constexpr float kRate = 0.03F, kMomentum = 0.9F, kCurvature = 2;
  const network::FlatTensor parameter{.name = "w", .shape = {1}};
  std::vector<Optimizer> optimizers;
  for (int worker = 0; worker < 3; ++worker)
    optimizers.emplace_back(OptimizerOptions{.momentum = kMomentum, .nesterov = true}, std::vector{parameter},
                            *backend);
  float weight = 1;
  double theta = 1;
  std::array<double, 3> velocity{};
  const auto ahead = [&] { return theta - kRate * kMomentum * (velocity[0] + velocity[1] + velocity[2]); };
  std::array<float, 3> knows{1, 1, 1};  // the weights that each worker computes with
  for (const std::size_t worker : {0U, 1U, 1U, 2U, 0U, 2U, 1U, 0U, 0U, 2U}) {
    float gradient = kCurvature * knows[worker];
    optimizers[worker].apply(ConstTensorView{&gradient, Shape{1}}, TensorView{&weight, Shape{1}}, 0, kRate);
    velocity[worker] = kMomentum * velocity[worker] + gradient;
    theta -= kRate * velocity[worker];
    EXPECT_NEAR(weight, ahead(), 1e-6);
    EXPECT_GT(std::abs(weight - theta), 1e-3);
    knows[worker] = weight;
  }
}

}  // namespace
}  // namespace brigade::training
