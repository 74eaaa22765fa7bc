// Runs that are refused or end early: all ranks alike, with a message that says why.
#include <gtest/gtest.h>

#include <fstream>

#include "ranks.hpp"

namespace brigade::training {
namespace {

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

}  // namespace
}  // namespace brigade::training
