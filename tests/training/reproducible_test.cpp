// --reproducible: the same bytes on any number of ranks.
#include <gtest/gtest.h>

#include <fstream>

#include "brigade/dataset/augment.hpp"
#include "ranks.hpp"

namespace brigade::training {
namespace {

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
      expect_same_files(options.run, run_alone(directory));
      EXPECT_EQ(losses(options.run), losses(run_alone(directory)));
      EXPECT_EQ(together.summary.train_loss, alone.summary.train_loss);
      EXPECT_EQ(*together.summary.val_loss, *alone.summary.val_loss);
      if (world->size() == 1) break;
    }
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

}  // namespace
}  // namespace brigade::training
