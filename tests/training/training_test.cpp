// Whole runs on 1, 2, 3 and 4 ranks. Each rank also computes the run on its own, with a default
// communicator, and compares: what N ranks do together must be what one does alone.
#include <gtest/gtest.h>

#include "brigade/dataset/augment.hpp"
#include "brigade/dataset/manifest.hpp"
#include "brigade/training/evaluation.hpp"
#include "ranks.hpp"

namespace brigade::training {
namespace {

TEST(Training, LossesDoNotDependOnTheNumberOfRanks) {
  const auto options = options_for("losses");
  const auto together = train(options, *backend, *world);
  const auto alone = train_alone(options);
  EXPECT_EQ(together.code, ExitCode::done);
  EXPECT_EQ(together.summary.steps, 16);
  const auto expected = losses(run_alone(options.run));
  const auto actual = losses(options.run);
  ASSERT_EQ(actual.size(), 16U);
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 1e-5) << "step " << i;
  EXPECT_LT(actual.back(), 0.5 * actual.front());  // it learns
  EXPECT_EQ(*together.summary.val_accuracy, *alone.summary.val_accuracy);
  EXPECT_NEAR(*together.summary.val_loss, *alone.summary.val_loss, 1e-5);
}

// Dropout masks belong to a sample's place in the global batch.
TEST(Training, DropoutDependsOnNeitherMicroBatchesNorRanks) {
  auto options = options_for("micro");
  options.dataset = make_dataset("colour", {64, 64, 3});
  options.network = "tiny-model1";
  options.micro_batches = 12;
  options.max_steps = 4;
  train(options, *backend, *world);
  options.micro_batches = 1;
  train_alone(options);
  const auto expected = losses(run_alone(options.run));
  const auto actual = losses(options.run);
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 1e-5) << "step " << i;
}

// Batch-norm statistics belong to a micro-batch, so 12 micro-batches give the same run on any number of ranks.
TEST(Training, BatchNormFollowsMicroBatchesNotRanks) {
  auto options = options_for("bn");
  options.network = "fashion-cnn";
  options.micro_batches = 12;
  options.max_steps = 3;
  train(options, *backend, *world);
  const auto alone = train_alone(options);
  const auto expected = losses(run_alone(options.run));
  const auto actual = losses(options.run);
  ASSERT_EQ(actual.size(), 3U);
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 1e-5) << "step " << i;
}

TEST(Training, ResumesBitForBit) {
  using network::Precision;
  for (const auto& [kind, precision] : {std::pair{OptimizerKind::sgd, Precision::fp32},
                                        {OptimizerKind::adam, Precision::fp32},
                                        {OptimizerKind::sgd, Precision::bf16}}) {
    const std::string name =
        fmt::format("{}-{}", kind == OptimizerKind::sgd ? "sgd" : "adam", network::name_of(precision));
    auto options = options_for("whole-" + name);
    options.network = "fashion-cnn";
    options.precision = precision;
    options.optimizer = {
        .kind = kind, .learning_rate = 0.003F, .weight_decay = 1e-4F, .schedule = ScheduleKind::cosine};
    train(options, *backend, *world);

    auto interrupted = options;
    interrupted.run = scratch / ("interrupted-" + name);
    interrupted.resume = true;  // harmless on a first run
    for (const std::int64_t steps : {3, 11, 0}) {
      interrupted.max_steps = steps;
      train(interrupted, *backend, *world);
      world->barrier("the checkpoint");
    }
    expect_same_bits(load_model(*newest_checkpoint(options.run / "checkpoints")),
                     load_model(*newest_checkpoint(interrupted.run / "checkpoints")));
    EXPECT_EQ(losses(options.run), losses(interrupted.run));
  }
}

// The same pictures, mixed in the same pairs, on any number of ranks; here with pairs that two ranks share.
TEST(Training, AugmentationDoesNotDependOnTheNumberOfRanks) {
  auto options = options_for("augmented");
  options.dataset = make_dataset("augmented-blocks", {32, 32, 3});
  options.augmentation = dataset::parse_augmentation(
      "flip,rotate=10,zoom=0.1,crop=2,jitter=0.2:0.2:0.2,cutout=5,mixup=0.3,label-smoothing=0.1");
  options.image_size = 28;
  options.global_batch = 12 * 3;  // micro-batches of 3 images
  options.micro_batches = 12;
  options.data_threads = 2;
  train(options, *backend, *world);
  options.prefetch = 0;
  const auto alone = train_alone(options);
  const auto expected = losses(run_alone(options.run));
  const auto actual = losses(options.run);
  ASSERT_EQ(actual.size(), 10U);
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 1e-5) << "step " << i;
  const ModelInfo info = load_model(*newest_checkpoint(options.run / "checkpoints")).info;
  EXPECT_EQ(info.height, 28);
  EXPECT_EQ(info.stored_height, 32);
  EXPECT_EQ(info.augmentation, dataset::to_string(options.augmentation));

  options.resume = true;
  options.epochs = 2;
  options.augmentation.rotate = 20;
  try {
    train(options, *backend, *world);
    FAIL() << "another augmentation was accepted";
  } catch (const OptionError& error) {
    EXPECT_NE(std::string(error.what()).find("another augment (it was flip,rotate=10,zoom=0.1"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("now flip,rotate=20,zoom=0.1"), std::string::npos) << error.what();
  }
}

// Weights, their gradients and the optimizer are the same numbers in both precisions; only their way there is coarser.
TEST(Training, InBf16LearnsAsInFp32) {
  auto options = options_for("fp32");
  options.network = "fashion-cnn";
  options.epochs = 1;
  const auto fine = train(options, *backend, *world);
  options.precision = network::Precision::bf16;
  options.run = scratch / "bf16";
  const auto coarse = train(options, *backend, *world);
  const auto expected = losses(scratch / "fp32"), actual = losses(scratch / "bf16");
  ASSERT_EQ(actual.size(), 8U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(actual[i] / expected[i], 1, 0.06) << "step " << i;
  EXPECT_NE(actual, expected);
  EXPECT_GT(*fine.summary.val_accuracy, 0.95);
  EXPECT_NEAR(*coarse.summary.val_accuracy, *fine.summary.val_accuracy, 0.03);
}

TEST(Evaluation, CountsEverySampleOnce) {
  auto options = options_for("evaluation");
  options.max_steps = 6;
  train(options, *backend, *world);
  world->barrier("the checkpoint");
  const Model model = load_model(*newest_checkpoint(options.run / "checkpoints"));
  const auto manifest = dataset::read_manifest(options.dataset);
  network::Executor executor(make_graph(model.info), *backend, {.max_batch = 16, .training = false});
  restore(model, executor, *backend);
  const EvaluationOptions how{.batch = 16,
                              .confusion = true,
                              .worst = 7,
                              .stream = {.mean = model.info.mean, .stddev = model.info.stddev, .augmentation = {}}};
  const dataset::SplitFiles files(options.dataset, manifest, "test");
  communication::Communicator alone;
  const auto expected = evaluate(executor, files, alone, how);
  const auto actual = evaluate(executor, files, *world, how);
  EXPECT_EQ(actual.samples, 101);
  EXPECT_EQ(actual.top1, expected.top1);
  EXPECT_EQ(actual.top5, expected.top5);
  EXPECT_EQ(actual.confusion, expected.confusion);
  EXPECT_NEAR(actual.loss_sum / expected.loss_sum, 1, 1e-6);
  ASSERT_EQ(actual.worst.size(), expected.worst.size());
  for (std::size_t i = 0; i < actual.worst.size(); ++i) EXPECT_EQ(actual.worst[i].name, expected.worst[i].name);
  std::int64_t diagonal = 0;
  for (std::size_t c = 0; c < 10; ++c) diagonal += actual.confusion[c * 11];
  EXPECT_EQ(diagonal, actual.top1);
}

}  // namespace
}  // namespace brigade::training
