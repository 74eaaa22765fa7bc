// Ranks that train apart for a while, that share batch-norm statistics, or that a strategy is not for.
#include <gtest/gtest.h>

#include "ranks.hpp"

namespace brigade::training {
namespace {

// All ranks' micro-batches in one group are, but for rounding, one rank's single larger micro-batch: forward (the first
// loss and the running averages), and backward (the weights after it). Rounding may open or close a ReLU of the deep
// network, which shows in all its gradients; so distances are compared with those of micro-batches without a group.
TEST(Training, AGroupOfMicroBatchesIsALargerOne) {
  if (world->size() == 1) GTEST_SKIP() << "one rank is no group";
  for (const std::string network : {"fashion-cnn", "mobilenet-v2"}) {
    auto options = options_for("group-" + network);
    options.network = network;
    options.width_multiplier = network == "mobilenet-v2" ? 0.35 : 1;
    options.max_steps = 1;
    options.batch_norm_momentum = 0.5F;
    const auto with_group = [&](std::int64_t group) {
      options.batch_norm_group = group;
      options.run = scratch / fmt::format("group-{}-{}", network, group);
      train(options, *backend, *world);
      world->barrier("the checkpoint");
      return load_model(*newest_checkpoint(options.run / "checkpoints"));
    };
    const Model apart = with_group(1), group = with_group(world->size());
    const double loss = losses(options.run).at(0);
    options.batch_norm_group = 1;
    train_alone(options);
    const fs::path alone = run_alone(options.run);
    const Model one = load_model(*newest_checkpoint(alone / "checkpoints"));
    EXPECT_NEAR(loss / losses(alone).at(0), 1, 1e-5) << network;
    EXPECT_LE(relative_distance(group.parameters, one.parameters),
              0.02 * relative_distance(apart.parameters, one.parameters))
        << network;
    EXPECT_LE(relative_distance(group.statistics, one.statistics),
              1e-3 * relative_distance(apart.statistics, one.statistics))
        << network;
  }
}

TEST(Training, GroupsDivideTheRanks) {
  auto options = options_for("no-group");
  options.network = "fashion-cnn";
  options.batch_norm_group = world->size() + 1;
  EXPECT_THROW(train(options, *backend, *world), OptionError);
  options.batch_norm_group = world->size();
  options.reproducible = true;
  options.micro_batches = 4;
  if (world->size() == 2) {
    EXPECT_THROW(train(options, *backend, *world), OptionError);
  }
}

// Weights and velocities that are averaged after every step are those that summed gradients give, but for rounding.
TEST(Training, LocalSgdThatMeetsInEveryStepIsSynchronous) {
  auto options = options_for("multi-worker");
  options.epochs = 1;
  const auto synchronous = train(options, *backend, *world);
  options.run = scratch / "local-1";
  options.strategy = StrategyKind::local_sgd;
  options.sync_every = 1;
  const auto local = train(options, *backend, *world);
  world->barrier("the checkpoint");
  const Model a = load_model(*newest_checkpoint(scratch / "multi-worker" / "checkpoints"));
  const Model b = load_model(*newest_checkpoint(options.run / "checkpoints"));
  EXPECT_LT(relative_distance(a.parameters, b.parameters), 1e-5);
  EXPECT_NEAR(local.summary.train_loss / synchronous.summary.train_loss, 1, 1e-5);
  EXPECT_EQ(local.summary.train_accuracy, synchronous.summary.train_accuracy);
}

TEST(Training, LocalSgdMeetsNowAndThenAndLearns) {
  auto options = options_for("local-3");
  options.strategy = StrategyKind::local_sgd;
  options.sync_every = 3;
  options.epochs = 3;
  const auto result = train(options, *backend, *world);
  EXPECT_EQ(result.summary.steps, 24);
  EXPECT_GT(*result.summary.val_accuracy, 0.8);
  const auto sent = column(options.run, "sent_bytes");
  ASSERT_EQ(sent.size(), 24U);
  for (std::size_t step = 0; step < 24; ++step) {
    const bool meets = (step + 1) % 3 == 0 || (step + 1) % 8 == 0;  // or the epoch ends
    EXPECT_EQ(sent[step] > 0, meets && world->size() > 1) << "step " << step;
  }
}

TEST(Training, StrategiesAreForCertainRanks) {
  auto options = options_for("strategies");
  options.max_steps = 1;
  auto pairs = communication::Communicator::world(60, 2);
  options.strategy = StrategyKind::one_device;
  if (world->size() > 1) {
    EXPECT_THROW(train(options, *backend, *world), OptionError);
  }
  options.strategy = StrategyKind::mirrored;
  if (world->size() > 2) {
    EXPECT_THROW(train(options, *backend, pairs), OptionError);
  }
  EXPECT_EQ(train(options, *backend, *world).code, ExitCode::done);
  options.strategy = StrategyKind::local_sgd;
  options.reproducible = true;
  options.micro_batches = 12;
  EXPECT_THROW(train(options, *backend, *world), OptionError);
  options.strategy = StrategyKind::parameter_server;
  EXPECT_THROW(train(options, *backend, *world), OptionError);
  options.reproducible = false;
  options.servers = world->size();
  EXPECT_THROW(train(options, *backend, *world), OptionError);
}

}  // namespace
}  // namespace brigade::training
