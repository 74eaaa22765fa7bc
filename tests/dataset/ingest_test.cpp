#include "brigade/dataset/ingest.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "../src/dataset/shard.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

std::map<std::string, Bytes> all_files(const fs::path& directory) {
  std::map<std::string, Bytes> files;
  for (const auto& entry : fs::directory_iterator(directory))
    files[entry.path().filename().string()] = file_bytes(entry.path());
  return files;
}

TEST(Ingest, WritesTheSameBytesForAnyNumberOfRanks) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(103, 17);
  ingest(sources, directory / "1", 20, 1);
  const auto expected = all_files(directory / "1");
  EXPECT_EQ(expected.size(), 6U + 1U + 1U);  // 103 / 20 -> 6 shards, 17 / 20 -> 1, and the manifest
  for (const int ranks : {2, 3, 9}) {
    ingest(sources, directory / std::to_string(ranks), 20, ranks);
    EXPECT_EQ(all_files(directory / std::to_string(ranks)), expected) << ranks << " ranks";
  }
}

// Threads in the place of processes: each shard is written once, by whoever is free.
TEST(Ingest, RanksThatShareCountsTakeWhatIsLeft) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(103, 17);
  ingest(sources, directory / "alone", 20, 1);
  IngestCounts counts;
  std::array<IngestResult, 3> results;
  std::array<std::int64_t, 3> most{};
  {
    std::vector<std::jthread> ranks;
    for (std::size_t rank = 0; rank < 3; ++rank)
      ranks.emplace_back([&, rank] {
        IngestOptions options;
        options.directory = directory / "together";
        options.samples_per_shard = 20;
        options.rank = static_cast<int>(rank);
        options.size = 3;
        options.together = &counts;
        options.progress = [&, rank](std::int64_t done, std::int64_t total) {
          EXPECT_EQ(total, 120);
          EXPECT_GT(done, most[rank]);
          most[rank] = done;
        };
        results[rank] = ingest_shards(sources, options);
      });
  }
  EXPECT_EQ(results[0].written + results[1].written + results[2].written, 120);
  EXPECT_EQ(std::max({most[0], most[1], most[2]}), 120);  // of all, by whoever was the last
  IngestOptions all;
  all.directory = directory / "together";
  all.samples_per_shard = 20;
  finish_ingest(sources, all);
  EXPECT_EQ(all_files(directory / "together"), all_files(directory / "alone"));
}

TEST(Ingest, AFailureEndsTheWorkOfAll) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(103, 17);
  IngestCounts counts;
  IngestOptions options;
  options.directory = directory / "file";
  options.samples_per_shard = 20;
  options.size = 2;
  options.together = &counts;
  fs::create_directories(options.directory / "train-00000-of-00006.h5");  // cannot be replaced by a file
  EXPECT_THROW(ingest_shards(sources, options), Error);
  options.rank = 1;
  const auto other = ingest_shards(sources, options);
  EXPECT_EQ(other.written + other.kept, 0);
}

TEST(Ingest, ShardsAreEquallyLargeAndFairMixes) {
  const TemporaryDirectory directory;
  Sources sources;
  sources["train"] = std::make_unique<SyntheticSource>(1000, ImageShape{2, 2, 1}, 2);
  const auto manifest = ingest(sources, directory.path(), 300);
  ASSERT_EQ(manifest.split("train").shards.size(), 4U);
  for (const auto& report : verify_shards(directory.path(), manifest, 0, 1)) {
    EXPECT_EQ(report.info.samples, 250);
    EXPECT_NEAR(static_cast<double>(report.class_counts[0]), 125, 40);
  }
}

TEST(Ingest, MeanAndDeviationAreOfTheTrainingPixels) {
  const TemporaryDirectory directory;
  const ImageShape image{3, 5, 3};
  const auto manifest = ingest(synthetic(40, 9, image), directory.path(), 16);
  for (std::int64_t c = 0; c < 3; ++c) {
    double sum = 0, squares = 0;
    for (std::int64_t sample = 0; sample < 40; ++sample)
      for (std::int64_t i = c; i < image.size(); i += 3) {
        const double value = pixel(sample, i) / 255.0;
        sum += value;
        squares += value * value;
      }
    const double n = 40 * 15, mean = sum / n;
    EXPECT_NEAR(manifest.mean[static_cast<std::size_t>(c)], mean, 1e-6);
    EXPECT_NEAR(manifest.stddev[static_cast<std::size_t>(c)], std::sqrt(squares / n - mean * mean), 1e-6);
  }
}

TEST(Ingest, ReportsItsProgress) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(100, 0);
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  IngestOptions options;
  options.directory = directory.path();
  options.samples_per_shard = 30;
  options.progress = [&](std::int64_t done, std::int64_t total) { seen.emplace_back(done, total); };
  for (int run = 0; run < 2; ++run) {  // written, then kept
    seen.clear();
    ingest_shards(sources, options);
    ASSERT_EQ(seen.size(), 4U);
    EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
    EXPECT_EQ(seen.back(), std::pair(std::int64_t{100}, std::int64_t{100}));
  }
}

// What happens to shard 1 of 4 between two runs, and whether it is written again.
struct Accident {
  const char* name;
  void (*happen)(const fs::path& shard);
};

class Restart : public ::testing::TestWithParam<Accident> {};

TEST_P(Restart, RedoesOnlyWhatIsNotIntact) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(100, 0);
  const auto& source = static_cast<const SyntheticSource&>(*sources.at("train"));
  ingest(sources, directory.path(), 25);
  const auto expected = all_files(directory.path());

  GetParam().happen(directory / "train-00001-of-00004.h5");
  source.reads = 0;
  IngestResult result;
  ingest(sources, directory.path(), 25, 2, &result);
  EXPECT_EQ(result.kept, 75);
  EXPECT_EQ(result.written, 25);
  EXPECT_EQ(source.reads, 25);
  EXPECT_EQ(all_files(directory.path()), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Accidents, Restart,
    ::testing::Values(
        Accident{"deleted", [](const fs::path& shard) { fs::remove(shard); }},
        Accident{"truncated", [](const fs::path& shard) { fs::resize_file(shard, fs::file_size(shard) / 2); }},
        Accident{"emptied", [](const fs::path& shard) { fs::resize_file(shard, 0); }},
        Accident{"partial", [](const fs::path& shard) { fs::rename(shard, shard.string() + ".partial-12345"); }},
        Accident{"flipped",
                 [](const fs::path& shard) { flip_byte(shard, ShardFile(shard).images_place().offset + 100); }},
        Accident{"foreign",
                 [](const fs::path& shard) {
                   fs::copy_file(shard.parent_path() / "train-00002-of-00004.h5", shard,
                                 fs::copy_options::overwrite_existing);
                 }}),
    [](const auto& test_info) { return std::string(test_info.param.name); });

TEST(Ingest, AnotherSeedSizeOrSourceIsNotMistakenForFinished) {
  const TemporaryDirectory directory;
  const auto rewritten = [&](const Sources& sources, std::uint64_t seed) {
    IngestOptions options;
    options.directory = directory.path();
    options.samples_per_shard = 50;
    options.seed = seed;
    return ingest_shards(sources, options).written;
  };
  EXPECT_EQ(rewritten(synthetic(100, 0), 1), 100);
  EXPECT_EQ(rewritten(synthetic(100, 0), 1), 0);
  EXPECT_EQ(rewritten(synthetic(100, 0), 2), 100);
  EXPECT_EQ(rewritten(synthetic(99, 0), 2), 99);
  EXPECT_EQ(rewritten(synthetic(99, 0, {5, 3, 3}), 2), 99);
  Sources other_labels;
  other_labels["train"] = std::make_unique<SyntheticSource>(99, ImageShape{5, 3, 3}, 4);
  EXPECT_EQ(rewritten(other_labels, 2), 99);
}

TEST(Ingest, FinishRejectsShardsOfAnotherIngest) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(100, 0);
  ingest(sources, directory.path(), 50);
  IngestOptions options;
  options.directory = directory.path();
  options.samples_per_shard = 50;
  options.seed = 2;
  EXPECT_HAS(message_of<DataError>([&] { finish_ingest(sources, options); }), "another ingest");
  options.samples_per_shard = 10;
  EXPECT_HAS(message_of<DataError>([&] { finish_ingest(sources, options); }), "train-00000-of-00010.h5");
}

TEST(Ingest, TheManifestIsGoneWhileShardsChange) {
  const TemporaryDirectory directory;
  ingest(synthetic(100, 0), directory.path(), 50);
  IngestOptions options;
  options.directory = directory.path();
  options.samples_per_shard = 50;
  ingest_shards(synthetic(100, 0), options);
  EXPECT_TRUE(fs::exists(directory / "manifest.json"));
  options.seed = 2;
  ingest_shards(synthetic(100, 0), options);
  EXPECT_FALSE(fs::exists(directory / "manifest.json"));
}

TEST(Ingest, ImagesThatDoNotDecodeAreListedAndLeftOut) {
  const TemporaryDirectory directory;
  Sources sources;
  auto made = std::make_unique<SyntheticSource>(60, ImageShape{4, 4, 1});
  made->bad = {3, 59, 20};
  auto& source = *made;
  sources["train"] = std::move(made);

  for (const bool again : {false, true}) {  // a restart keeps the shards, and still says what is missing
    IngestResult result;
    const auto manifest = ingest(sources, directory.path(), 20, 2, &result);
    EXPECT_EQ(result.written, again ? 0 : 57);
    EXPECT_EQ(result.kept, again ? 57 : 0);
    std::set<std::string> names;
    for (const auto& bad : result.bad) {
      names.insert(bad.name);
      EXPECT_EQ(bad.split, "train");
      EXPECT_EQ(bad.why, "it is made to fail");
    }
    EXPECT_EQ(result.bad.size(), 3U);
    EXPECT_EQ(names, (std::set<std::string>{"made#3", "made#20", "made#59"}));
    EXPECT_EQ(manifest.split("train").samples(), 57);
    verify_shards(directory.path(), manifest, 0, 1);
    const auto reader = open_split(directory.path(), manifest, "train");
    for (std::int64_t i = 0; i < 57; ++i) EXPECT_FALSE(source.bad.contains(source.original(reader->name(i))));
  }

  source.bad = {3};  // repaired: their shards are written again
  IngestResult result;
  EXPECT_EQ(ingest(sources, directory.path(), 20, 1, &result).split("train").samples(), 59);
  EXPECT_EQ(result.bad.size(), 1U);
  EXPECT_GT(result.written, 0);
}

TEST(Ingest, SurvivesAShardWithoutASingleGoodImage) {
  const TemporaryDirectory directory;
  Sources sources;
  auto made = std::make_unique<SyntheticSource>(3, ImageShape{4, 4, 1});
  made->bad = {0, 1, 2};
  sources["train"] = std::move(made);
  IngestResult result;
  const auto manifest = ingest(sources, directory.path(), 1, 1, &result);
  EXPECT_EQ(result.bad.size(), 3U);
  EXPECT_EQ(manifest.split("train").samples(), 0);
  for (const auto mode : {ReaderMode::mmap, ReaderMode::independent})
    EXPECT_EQ(open_split(directory.path(), manifest, "train", {.mode = mode})->samples(), 0);
}

TEST(Ingest, AnyoneCanReadAShard) {
  if (std::system("/usr/bin/python3 -c 'import h5py, numpy' 2>/dev/null") != 0) GTEST_SKIP() << "h5py is not installed";
  const TemporaryDirectory directory;
  ingest(synthetic(50, 10, {16, 20, 3}), directory.path(), 20);
  EXPECT_EQ(std::system(
                ("/usr/bin/python3 " BRIGADE_SOURCE_DIR "/tests/dataset/read_with_h5py.py " + directory.path().string())
                    .c_str()),
            0);
}

}  // namespace
}  // namespace brigade::dataset::testing
