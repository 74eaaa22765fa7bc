// Every reader mode, on 1, 2, 3 and 4 ranks, gives the samples that one process alone reads by memory map.
#include <gtest/gtest.h>

#include <fstream>

#include "brigade/dataset/batches.hpp"
#include "ranks.hpp"

namespace brigade::training {
namespace {

using dataset::ReaderMode;
using dataset::Verify;

struct Modes : ::testing::TestWithParam<std::tuple<ReaderMode, int>> {  // prefetch
  dataset::ReaderOptions options(Verify verify = Verify::first) const {
    return {.mode = std::get<0>(GetParam()), .verify = verify, .stage_directory = scratch / "stage", .mpi_hints = {}};
  }
};

// 203 samples among the ranks, in batches of 7: parts and batches are uneven.
TEST_P(Modes, GivesEachRankItsSamples) {
  const auto manifest = dataset::read_manifest(dataset_directory());
  const dataset::SplitFiles files(dataset_directory(), manifest, "train", options(), *world, world->node());
  EXPECT_EQ(files.mode(), std::get<0>(GetParam()));
  EXPECT_EQ(files.samples(), 203);
  const auto own = dataset::part_of(203, world->rank(), world->size());
  const std::int64_t rounds = (203 / world->size() + 1 + 6) / 7;
  const dataset::StreamOptions how{.prefetch = std::get<1>(GetParam()), .augmentation = {}};
  std::vector<std::unique_ptr<dataset::SplitReader>> readers;
  for (int thread = 0; thread < 2; ++thread) readers.push_back(files.reader());
  dataset::BatchStream stream(std::move(readers), dataset::evaluation_plan(own, 7, rounds), how);
  dataset::BatchStream alone(dataset::open_split(dataset_directory(), manifest, "train", {.mode = ReaderMode::mmap}),
                             dataset::evaluation_plan(own, 7, rounds), how);
  std::int64_t count = 0;
  while (const auto* batch = stream.next()) {
    const auto* expected = alone.next();
    ASSERT_NE(expected, nullptr);
    count += std::ssize(batch->indices);
    EXPECT_TRUE(std::ranges::equal(batch->indices, expected->indices));
    EXPECT_TRUE(std::ranges::equal(batch->labels, expected->labels));
    EXPECT_TRUE(std::ranges::equal(batch->images, expected->images));
  }
  EXPECT_EQ(count, own.size());
  EXPECT_EQ(alone.next(), nullptr);
  EXPECT_EQ(files.reader()->name(202), dataset::open_split(dataset_directory(), manifest, "train")->name(202));
}

INSTANTIATE_TEST_SUITE_P(All, Modes,
                         ::testing::Combine(::testing::Values(ReaderMode::mmap, ReaderMode::independent,
                                                              ReaderMode::collective, ReaderMode::preload,
                                                              ReaderMode::stage),
                                            ::testing::Values(0, 3)));

// A copy of the dataset in which one byte of the last sample's pixels is flipped.
fs::path damaged_dataset() {
  const fs::path path = scratch / "damaged-dataset";
  if (world->rank() == 0 && !fs::exists(path)) {
    fs::copy(dataset_directory(), path);
    const auto manifest = dataset::read_manifest(path);
    const auto shard = path / manifest.split("train").shards.back().file;
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes(fs::file_size(shard), '\0');
    file.read(bytes.data(), std::ssize(bytes));
    std::vector<std::uint8_t> pixels(28 * 28);
    std::int32_t label = 0;
    const std::int64_t last = 202;
    dataset::open_split(dataset_directory(), manifest, "train")->read(std::span(&last, 1), pixels.data(), &label);
    const auto at = bytes.find(std::string(pixels.begin(), pixels.end()));
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(bytes[at] ^ 1));
  }
  world->barrier("the damage");
  return path;
}

TEST(Preload, DamageIsFoundOnAllRanksBeforeTraining) {
  const auto path = damaged_dataset();
  const auto manifest = dataset::read_manifest(path);
  try {
    dataset::SplitFiles(path, manifest, "train", {.mode = ReaderMode::preload}, *world, world->node());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const DataError& error) {
    EXPECT_TRUE(error.on_all_ranks);
    const auto name = dataset::open_split(dataset_directory(), manifest, "train")->name(202);
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
  }
}

// Each rank wants sample 202 of a split of 203: all of them, or none, must leave the read.
TEST(Collective, AnErrorOfOneRankIsThrownOnAll) {
  const auto manifest = dataset::read_manifest(dataset_directory());
  const dataset::SplitFiles files(dataset_directory(), manifest, "train", {.mode = ReaderMode::collective}, *world,
                                  world->node());
  const auto reader = files.reader();
  dataset::StoredSamples stored;
  const std::int64_t wanted = world->rank() == world->size() - 1 ? 203 : 0;
  EXPECT_THROW(reader->fetch(std::span(&wanted, 1), stored), DataError);
  reader->fetch({}, stored);                       // the ranks are still in step
  EXPECT_EQ(reader->collective_reads().calls, 8);  // 4 shards, twice
}

}  // namespace
}  // namespace brigade::training
