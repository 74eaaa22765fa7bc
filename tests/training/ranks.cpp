#include "ranks.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "brigade/core/random.hpp"
#include "brigade/dataset/ingest.hpp"
#include "brigade/host/backend.hpp"

namespace brigade::training {

communication::Communicator* world = nullptr;
ops::Backend* backend = nullptr;
fs::path scratch;

namespace {

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

}  // namespace

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

const fs::path& dataset_directory() {
  static const fs::path directory = make_dataset("blocks", {28, 28, 1});
  return directory;
}

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

fs::path run_alone(const fs::path& run) { return run.string() + fmt::format("-alone-{}", world->rank()); }

TrainResult train_alone(TrainOptions options) {
  options.run = run_alone(options.run);
  communication::Communicator one;
  return train(options, *backend, one);
}

std::vector<double> column(const fs::path& run, const std::string& name, int rank) {
  std::ifstream in(run / fmt::format("steps-{:05}.csv", rank));
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

double relative_distance(const std::vector<NamedArray>& x, const std::vector<NamedArray>& y) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t k = 0; k < x[i].values.size(); ++k) {
      difference += std::pow(x[i].values[k] - y[i].values[k], 2);
      norm += std::pow(y[i].values[k], 2);
    }
  return std::sqrt(difference / norm);
}

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
