#include "brigade/training/checkpoint.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "brigade/core/error.hpp"

namespace brigade::training {
namespace fs = std::filesystem;
namespace {

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() : directory(fs::temp_directory_path() / fmt::format("brigade-checkpoint-{}", getpid())) {
    fs::remove_all(directory);
  }
  ~CheckpointTest() override { fs::remove_all(directory); }

  static Checkpoint example(std::int64_t step) {
    Checkpoint checkpoint;
    checkpoint.model.info = {.network = "lenet5",
                             .height = 28,
                             .width = 27,
                             .channels = 1,
                             .stored_height = 32,
                             .stored_width = 30,
                             .width_multiplier = 0.35,
                             .classes = {"boot", "\"quoted\"", "größe"},
                             .mean = {0.1F, 0, 0},
                             .stddev = {0.3F, 1, 1},
                             .augmentation = "flip,rotate=20"};
    checkpoint.model.parameters = {{"conv1/kernel", {1, 2, 1, 2}, {0.1F, -0.0F, 3e-42F, 4}},
                                   {"conv1/bias", {2}, {5, 6}}};
    checkpoint.model.statistics = {{"bn/moving_mean", {1}, {7}}};
    checkpoint.state = {.step = step,
                        .identity = {{"seed", "7"}, {"network", "lenet5"}},
                        .epoch_loss_sum = 0.1 + 0.2,
                        .epoch_correct = 12,
                        .epoch_images = 34,
                        .epoch_train_s = 1.0 / 3,
                        .optimizer = {{"velocity", {6}, {1, 2, 3, 4, 5, 6}}}};
    return checkpoint;
  }

  static void flip_byte(const fs::path& file, std::streamoff at) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const char byte = static_cast<char>(stream.get() ^ 0x10);
    stream.seekp(at);
    stream.put(byte);
  }

  fs::path directory;
};

void expect_same(const std::vector<NamedArray>& a, const std::vector<NamedArray>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_EQ(a[i].shape, b[i].shape);
    ASSERT_EQ(a[i].values.size(), b[i].values.size());
    EXPECT_EQ(std::memcmp(a[i].values.data(), b[i].values.data(), a[i].values.size() * sizeof(float)), 0) << a[i].name;
  }
}

TEST_F(CheckpointTest, ReadsBackBitForBit) {
  const Checkpoint written = example(42);
  save_checkpoint(directory, written, 2);
  const auto path = newest_checkpoint(directory);
  ASSERT_TRUE(path);
  EXPECT_EQ(path->filename(), "step-00000042");

  const Model model = load_model(*path);
  EXPECT_EQ(model.info.network, written.model.info.network);
  EXPECT_EQ(model.info.width, 27);
  EXPECT_EQ(model.info.width_multiplier, 0.35);
  EXPECT_EQ(model.info.classes, written.model.info.classes);
  EXPECT_EQ(model.info.mean, written.model.info.mean);
  EXPECT_EQ(model.info.stddev, written.model.info.stddev);
  EXPECT_EQ(model.info.stored_height, 32);
  EXPECT_EQ(model.info.stored_width, 30);
  EXPECT_EQ(model.info.augmentation, "flip,rotate=20");
  expect_same(model.parameters, written.model.parameters);
  expect_same(model.statistics, written.model.statistics);

  const TrainingState state = load_state(*path);
  EXPECT_EQ(state.step, 42);
  EXPECT_EQ(state.identity, written.state.identity);
  EXPECT_EQ(state.epoch_loss_sum, written.state.epoch_loss_sum);
  EXPECT_EQ(state.epoch_correct, written.state.epoch_correct);
  EXPECT_EQ(state.epoch_images, written.state.epoch_images);
  EXPECT_EQ(state.epoch_train_s, written.state.epoch_train_s);
  expect_same(state.optimizer, written.state.optimizer);
}

TEST_F(CheckpointTest, KeepsTheNewestOnly) {
  for (const std::int64_t step : {1, 20, 3, 100000000}) save_checkpoint(directory, example(step), 2);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
  EXPECT_EQ(names.size(), 2U);
  EXPECT_EQ(load_state(*newest_checkpoint(directory)).step, 100000000);
}

TEST_F(CheckpointTest, IgnoresWhatIsNotComplete) {
  EXPECT_FALSE(newest_checkpoint(directory));
  save_checkpoint(directory, example(5), 2);
  fs::create_directories(directory / "step-00000009");        // killed before its manifest was written
  fs::create_directories(directory / ".partial-00000011-1");  // killed before it was renamed
  EXPECT_EQ(newest_checkpoint(directory)->filename(), "step-00000005");
}

TEST_F(CheckpointTest, NamesTheDamagedFile) {
  save_checkpoint(directory, example(5), 2);
  const fs::path path = *newest_checkpoint(directory);
  flip_byte(path / "model.h5", static_cast<std::streamoff>(fs::file_size(path / "model.h5") - 5));
  try {
    load_model(path);
    FAIL() << "a flipped byte was not noticed";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("model.h5 is damaged"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(load_state(path));
  fs::resize_file(path / "state.h5", 100);
  EXPECT_THROW(load_state(path), DataError);
}

}  // namespace
}  // namespace brigade::training
