// Whole runs on 1, 2, 3 and 4 ranks. Each rank also computes the run on its own, with a default
// communicator, and compares: what N ranks do together must be what one does alone.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "brigade/communication/communicator.hpp"
#include "brigade/core/random.hpp"
#include "brigade/dataset/ingest.hpp"
#include "brigade/host/backend.hpp"
#include "brigade/training/checkpoint.hpp"
#include "brigade/training/evaluation.hpp"
#include "brigade/training/trainer.hpp"
#include "ranks.hpp"

namespace brigade::training {

communication::Communicator* world = nullptr;
fs::path scratch;

namespace {

ops::Backend* backend = nullptr;

// Images whose class is visible (a bright block at a place of its own) under noise.
class Blocks final : public dataset::Source {
 public:
  Blocks(const dataset::ImageShape& image, std::int64_t samples, std::uint32_t stream)
      : image_(image), samples_(samples), stream_(stream) {}
  std::int64_t samples() const override { return samples_; }
  std::optional<dataset::ImageShape> pixels() const override { return image_; }
  std::vector<std::string> classes() const override { return {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}; }
  std::int32_t label(std::int64_t i) const override {
    const RandomKey key{1, Purpose::synthetic_data, stream_, 1};
    return static_cast<std::int32_t>(random_u32(key, static_cast<std::uint64_t>(i)) % 10);
  }
  std::string name(std::int64_t i) const override { return fmt::format("block {}", i); }
  void fetch(std::int64_t i, std::vector<std::byte>& bytes) const override {
    bytes.resize(static_cast<std::size_t>(image_.size()));
    auto* pixels = reinterpret_cast<std::uint8_t*>(bytes.data());
    const RandomKey noise{1, Purpose::synthetic_data, stream_, 2};
    for (std::int64_t p = 0; p < image_.size(); ++p)
      pixels[p] = static_cast<std::uint8_t>(random_u32(noise, static_cast<std::uint64_t>(i * image_.size() + p)) % 100);
    const std::int64_t row = label(i) / 4 * 9, column = label(i) % 4 * 7, width = image_.width * image_.channels;
    for (std::int64_t y = row; y < row + 7; ++y)
      std::memset(pixels + y * width + column * image_.channels, 200, static_cast<std::size_t>(7 * image_.channels));
  }

 private:
  dataset::ImageShape image_;
  std::int64_t samples_;
  std::uint32_t stream_;
};

fs::path make_dataset(const std::string& name, const dataset::ImageShape& image) {
  const fs::path path = scratch / name;
  if (world->rank() == 0) {
    dataset::Sources sources;
    sources.emplace("train", std::make_shared<Blocks>(image, 203, 1));
    sources.emplace("test", std::make_shared<Blocks>(image, 101, 2));
    const dataset::IngestOptions options{.directory = path, .samples_per_shard = 64, .progress = {}};
    dataset::ingest_shards(sources, options);
    dataset::finish_ingest(sources, options);
  }
  world->barrier("the dataset");
  return path;
}

}  // namespace

const fs::path& dataset_directory() {
  static const fs::path directory = make_dataset("blocks", {28, 28, 1});
  return directory;
}

namespace {

TrainOptions options_for(const std::string& run) {
  TrainOptions options;
  options.dataset = dataset_directory();
  options.run = scratch / run;
  options.network = "lenet5";
  options.epochs = 2;
  options.global_batch = 24;
  options.optimizer = {.learning_rate = 0.02F, .schedule = ScheduleKind::cosine};
  options.bucket_bytes = 16U << 10;  // several buckets
  options.allreduce.segment_bytes = 1U << 10;
  return options;
}

// A run by this rank alone, in a directory of its own.
TrainResult train_alone(TrainOptions options) {
  options.run += fmt::format("-alone-{}", world->rank());
  communication::Communicator alone;
  return train(options, *backend, alone);
}

std::vector<double> column(const fs::path& run, const std::string& name) {
  std::ifstream in(run / "steps-00000.csv");
  std::string line, field;
  std::getline(in, line);
  int number = 0;
  for (std::istringstream names(line); std::getline(names, field, ',') && field != name;) ++number;
  std::vector<double> result;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    for (int i = 0; i <= number; ++i) std::getline(fields, field, ',');
    result.push_back(std::stod(field));
  }
  return result;
}

std::vector<double> losses(const fs::path& run) { return column(run, "loss"); }

void expect_same_bits(const Model& a, const Model& b) {
  ASSERT_EQ(a.parameters.size(), b.parameters.size());
  for (std::size_t i = 0; i < a.parameters.size(); ++i)
    EXPECT_EQ(a.parameters[i].values, b.parameters[i].values) << a.parameters[i].name;
  for (std::size_t i = 0; i < a.statistics.size(); ++i)
    EXPECT_EQ(a.statistics[i].values, b.statistics[i].values) << a.statistics[i].name;
}

TEST(Training, LossesDoNotDependOnTheNumberOfRanks) {
  const auto options = options_for("losses");
  const auto together = train(options, *backend, *world);
  const auto alone = train_alone(options);
  EXPECT_EQ(together.code, ExitCode::done);
  EXPECT_EQ(together.summary.steps, 16);
  const auto expected = losses(options.run.string() + fmt::format("-alone-{}", world->rank()));
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
  const auto expected = losses(options.run.string() + fmt::format("-alone-{}", world->rank()));
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
  const auto expected = losses(options.run.string() + fmt::format("-alone-{}", world->rank()));
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

// Every file of two checkpoints (of the end of an epoch: within one, the time it took so far is in there, too).
void expect_same_files(const fs::path& a, const fs::path& b) {
  for (const char* file : {"model.h5", "state.h5", "manifest.json"}) {
    const auto bytes = [&](const fs::path& run) {
      std::ifstream in(*newest_checkpoint(run / "checkpoints") / file, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    EXPECT_EQ(bytes(a).size(), bytes(b).size()) << file;
    EXPECT_TRUE(bytes(a) == bytes(b)) << file << " of " << a << " and " << b;
  }
}

TrainOptions reproducible_options(const std::string& run) {
  auto options = options_for(run);
  options.dataset = make_dataset(run, {52, 52, 3});
  options.epochs = 1;
  options.network = "tiny-model2";  // batch norm, and dropout
  options.global_batch = 72;
  options.augmentation = dataset::parse_augmentation("flip,rotate=10,crop=2,mixup=0.3,label-smoothing=0.1");
  options.reproducible = true;
  return options;
}

// The same bits together as alone: through messages, through shared memory, and through both; also where a leaf of
// the tree has three micro-batches.
TEST(Training, ReproducibleRunsAreTheSameBytesOnAnyNumberOfRanks) {
  const bool power_of_two = (world->size() & (world->size() - 1)) == 0;
  auto pairs = communication::Communicator::world(60, 2);
  using communication::Algorithm;
  const std::pair<std::int64_t, Algorithm> cases[] = {{8, Algorithm::halving_doubling}, {12, Algorithm::automatic}};
  for (const auto& [micro_batches, algorithm] : cases) {
    auto options = reproducible_options(fmt::format("reproducible-{}", micro_batches));
    options.micro_batches = micro_batches;
    if (!power_of_two) {
      EXPECT_THROW(train(options, *backend, *world), OptionError);
      continue;
    }
    const auto alone = train_alone(options);
    const fs::path directory = options.run;
    options.allreduce.algorithm = algorithm;
    for (communication::Communicator* ranks : {world, &pairs}) {
      options.run = directory.string() + (ranks == world ? "-all" : "-pairs");
      const auto together = train(options, *backend, *ranks);
      world->barrier("the checkpoint");
      expect_same_files(options.run, directory.string() + fmt::format("-alone-{}", world->rank()));
      EXPECT_EQ(losses(options.run), losses(directory.string() + fmt::format("-alone-{}", world->rank())));
      EXPECT_EQ(together.summary.train_loss, alone.summary.train_loss);
      EXPECT_EQ(*together.summary.val_loss, *alone.summary.val_loss);
      if (world->size() == 1) break;
    }
  }
}

double relative_distance(const std::vector<NamedArray>& x, const std::vector<NamedArray>& y) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t k = 0; k < x[i].values.size(); ++k) {
      difference += std::pow(x[i].values[k] - y[i].values[k], 2);
      norm += std::pow(y[i].values[k], 2);
    }
  return std::sqrt(difference / norm);
}

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
    const std::string alone = options.run.string() + fmt::format("-alone-{}", world->rank());
    const Model one = load_model(*newest_checkpoint(fs::path(alone) / "checkpoints"));
    EXPECT_NEAR(loss / losses(alone).at(0), 1, 1e-5) << network;
    EXPECT_LE(relative_distance(group.parameters, one.parameters),
              0.02 * relative_distance(apart.parameters, one.parameters))
        << network;
    EXPECT_LE(relative_distance(group.statistics, one.statistics),
              1e-3 * relative_distance(apart.statistics, one.statistics))
        << network;
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
      const std::string alone = options.run.string() + fmt::format("-alone-{}", world->rank());
      const fs::path here = *newest_checkpoint(options.run / "checkpoints");
      const fs::path there = *newest_checkpoint(fs::path(alone) / "checkpoints");
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

TEST(Training, ReproducibleNeedsATreeOverMicroBatches) {
  const auto refused = [](TrainOptions options, const std::string& text) {
    try {
      train(options, *backend, *world);
      ADD_FAILURE() << "accepted; expected: " << text;
    } catch (const OptionError& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
      EXPECT_TRUE(error.on_all_ranks);
    }
  };
  auto options = reproducible_options("refused");
  options.micro_batches = 0;
  refused(options, "--reproducible needs --micro-batches");
  options.micro_batches = 12;
  options.allreduce.algorithm = communication::Algorithm::ring;
  refused(options, world->size() == 3 ? "12 micro-batches among 3 ranks" : "--allreduce ring");
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
  const auto expected = losses(options.run.string() + fmt::format("-alone-{}", world->rank()));
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

TEST(Training, RefusesToResumeAnotherRun) {
  auto options = options_for("changed");
  options.max_steps = 2;
  train(options, *backend, *world);
  options.resume = true;
  const auto expect_refusal = [&](const TrainOptions& changed, const std::string& reason) {
    try {
      train(changed, *backend, *world);
      FAIL() << "resumed with " << reason;
    } catch (const OptionError& error) {
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
      EXPECT_TRUE(error.on_all_ranks);
    }
  };
  auto changed = options;
  changed.seed = 99;
  expect_refusal(changed, "another seed (it was 1, now 99)");
  changed = options;
  changed.precision = network::Precision::bf16;
  expect_refusal(changed, "another precision (it was fp32, now bf16)");
}

TEST(Training, DivergenceStopsAllRanksAlike) {
  auto options = options_for("diverged");
  options.optimizer.learning_rate = 1e12F;
  try {
    train(options, *backend, *world);
    FAIL() << "the loss stayed finite";
  } catch (const DivergedError& error) {
    EXPECT_TRUE(error.on_all_ranks);
    EXPECT_EQ(error.code(), ExitCode::diverged);
  }
}

// One damaged image is met by one rank only; the message must reach them all.
TEST(Training, ADamagedImageStopsAllRanksAndIsNamed) {
  auto options = options_for("damaged");
  options.dataset = scratch / "damaged-blocks";
  if (world->rank() == 0) {
    fs::copy(dataset_directory(), options.dataset);
    const auto manifest = dataset::read_manifest(options.dataset);
    const fs::path shard = options.dataset / manifest.split("train").shards[1].file;
    std::fstream stream(shard, std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes(fs::file_size(shard), '\0');
    stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const auto block = bytes.find(std::string(7, static_cast<char>(200)));  // inside the first image
    ASSERT_NE(block, std::string::npos);
    stream.seekp(static_cast<std::streamoff>(block));
    stream.put(static_cast<char>(201));
  }
  world->barrier("the damage");
  try {
    train(options, *backend, *world);
    FAIL() << "the damage was not noticed";
  } catch (const DataError& error) {
    EXPECT_TRUE(error.on_all_ranks);
    const std::string text = error.what();
    EXPECT_NE(text.find("train-00001-of-"), std::string::npos) << text;
    EXPECT_NE(text.find("CRC-32C"), std::string::npos) << text;
  }
}

TEST(Training, BatchMustBeDivisible) {
  auto options = options_for("indivisible");
  options.global_batch = 23;
  options.micro_batches = 4;
  EXPECT_THROW(train(options, *backend, *world), OptionError);
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

int main(int argc, char** argv) {
  using namespace brigade;
  testing::InitGoogleTest(&argc, argv);
  const communication::Environment mpi(argc, argv);
  auto communicator = communication::Communicator::world(60);
  const host::Runtime runtime(1);
  const auto live = host::make_backend();
  training::world = &communicator;
  training::backend = live.get();
  training::scratch = communicator.broadcast(
      (std::filesystem::temp_directory_path() / fmt::format("brigade-training-{}", getpid())).string(), 0, "scratch");
  if (communicator.rank() != 0)
    delete testing::UnitTest::GetInstance()->listeners().Release(
        testing::UnitTest::GetInstance()->listeners().default_result_printer());
  std::vector<std::int64_t> failed{RUN_ALL_TESTS()};
  communicator.sum(failed, "the verdict");
  if (communicator.rank() == 0) std::filesystem::remove_all(training::scratch);
  return failed[0] == 0 ? 0 : 1;
}
