// Every kind of damage is found where it should be, and named.
#include <functional>
#include <numeric>

#include "../src/dataset/shard.hpp"
#include "brigade/core/atomic_file.hpp"
#include "brigade/core/checksum.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

constexpr ImageShape kImage{4, 4, 1};
constexpr const char* kShard = "train-00001-of-00003.h5";

// 30 samples in three shards.
struct Damage : ::testing::TestWithParam<ReaderMode> {
  Damage() : manifest(ingest(synthetic(30, 0, kImage), directory.path(), 10)), shard(directory / kShard) {}

  std::string opening(const Manifest& changed) {
    return message_of<DataError>([&] { open_split(directory.path(), changed, "train", {.mode = GetParam()}); });
  }
  std::string opening() { return opening(manifest); }

  // Replaces the shard with one of other contents but the same plan.
  void rewrite(const std::function<void(ShardHeader&, std::vector<std::int32_t>&)>& change) {
    const ShardFile neighbour(directory / "train-00000-of-00003.h5");
    ShardHeader header = neighbour.header();
    std::vector<std::int32_t> labels = neighbour.labels();
    header.index = 1;
    change(header, labels);
    labels.resize(static_cast<std::size_t>(header.samples));
    const std::vector<std::string> names(labels.size(), "some name of a sample");
    const Bytes pixels(static_cast<std::size_t>(header.samples * header.image.size()));
    ShardWriter writer(shard, header, 32);
    const auto bytes = std::as_bytes(std::span(pixels)).first(static_cast<std::size_t>(header.image.size()));
    const StoredSample sample{.bytes = bytes.size(), .checksum = crc32c(bytes), .sums = {}};
    writer.append(pixels, std::vector(static_cast<std::size_t>(header.samples), sample));
    writer.finish(labels, names, {});
    manifest.splits["train"].shards[1].bytes = static_cast<std::int64_t>(fs::file_size(shard));
  }

  TemporaryDirectory directory;
  Manifest manifest;
  fs::path shard;
};

TEST_P(Damage, AFlippedByteIsNamedByFileAndIndex) {
  const auto place = ShardFile(shard).images_place();
  flip_byte(shard, place.offset + 4 * place.item_bytes + 7);  // sample 4 of shard 1: sample 14 of the split
  std::vector<std::int64_t> indices(30);
  std::iota(indices.begin(), indices.end(), 0);
  Bytes pixels(30 * static_cast<std::size_t>(kImage.size()));
  std::vector<std::int32_t> labels(30);
  for (const auto verify : {Verify::always, Verify::first, Verify::never}) {
    const auto reader = open_split(directory.path(), manifest, "train", {.mode = GetParam(), .verify = verify});
    if (verify == Verify::never) {
      EXPECT_NO_THROW(reader->read(indices, pixels.data(), labels.data()));
      continue;
    }
    for (int attempt = 0; attempt < 2; ++attempt) {  // damage is not forgotten once it was reported
      const auto message = message_of<DataError>([&] { reader->read(indices, pixels.data(), labels.data()); });
      EXPECT_HAS(message, kShard);
      EXPECT_HAS(message, "sample 4 (" + reader->name(14) + ")");
    }
  }
  const auto message = message_of<DataError>([&] { verify_shards(directory.path(), manifest, 0, 1); });
  EXPECT_HAS(message, kShard);
  EXPECT_HAS(message, "sample 4 (");
  EXPECT_EQ(verify_shards(directory.path(), manifest, 0, 3).size(), 1U);  // the others are whole
  EXPECT_THROW(verify_shards(directory.path(), manifest, 1, 3), DataError);
}

TEST_P(Damage, ATruncatedShard) {
  const auto bytes = fs::file_size(shard);
  fs::resize_file(shard, bytes - 1);
  const auto message = opening();
  EXPECT_HAS(message, kShard);
  EXPECT_HAS(message, fmt::format("is truncated (expected {} bytes, the file holds {})", bytes, bytes - 1));
  manifest.splits["train"].shards[1].bytes -= 1;  // a manifest that agrees does not help
  const auto deeper = opening();
  EXPECT_HAS(deeper, kShard);
  EXPECT_HAS(deeper, "truncated file");  // HDF5's own words
}

TEST_P(Damage, ATruncatedShardOfAnySize) {
  const auto whole = file_bytes(shard);
  for (std::size_t size = 0; size < whole.size(); size += 511) {
    fs::resize_file(shard, size);
    manifest.splits["train"].shards[1].bytes = static_cast<std::int64_t>(size);
    EXPECT_HAS(opening(), kShard);
    write_bytes(shard, whole);
  }
}

TEST_P(Damage, AMissingShard) {
  fs::remove(shard);
  EXPECT_HAS(opening(), kShard);
  EXPECT_HAS(opening(), "is missing");
}

TEST_P(Damage, AFileThatIsNoShard) {
  const std::string text(static_cast<std::size_t>(manifest.splits["train"].shards[1].bytes), 'x');
  write_file(shard, text);
  EXPECT_HAS(opening(), kShard);
  EXPECT_HAS(opening(), "is no HDF5 file");
}

TEST_P(Damage, ALabelOutOfRange) {
  rewrite([](ShardHeader&, std::vector<std::int32_t>& labels) { labels[6] = 5; });
  EXPECT_HAS(opening(), kShard);
  EXPECT_HAS(opening(), "sample 6 has label 5 (there are 5 classes)");
  rewrite([](ShardHeader&, std::vector<std::int32_t>& labels) { labels[6] = 0; });
  EXPECT_NO_THROW(open_split(directory.path(), manifest, "train", {.mode = GetParam()}));
}

TEST_P(Damage, TwoShardsOfDifferentShapes) {
  rewrite([](ShardHeader& header, std::vector<std::int32_t>&) { header.image = {2, 8, 1}; });
  EXPECT_HAS(opening(), kShard);
  EXPECT_HAS(opening(), "holds images of 2x8x1 (the manifest says 4x4x1)");
}

TEST_P(Damage, AManifestThatDisagrees) {
  rewrite([](ShardHeader& header, std::vector<std::int32_t>&) { header.samples = 9; });
  EXPECT_HAS(opening(), "holds 9 samples (the manifest says 10)");
  rewrite([](ShardHeader& header, std::vector<std::int32_t>&) { header.classes = 6; });
  EXPECT_HAS(opening(), "has 6 classes (the manifest says 5)");
  rewrite([](ShardHeader& header, std::vector<std::int32_t>&) { header.split = "test"; });
  EXPECT_HAS(opening(), "belongs to split 'test'");
  rewrite([](ShardHeader& header, std::vector<std::int32_t>&) { header.plan = "other"; });
  EXPECT_HAS(opening(), "was made in another run");
  EXPECT_HAS(opening(), kShard);
}

TEST_P(Damage, AnUnknownSplit) {
  EXPECT_HAS(message_of<OptionError>([&] { open_split(directory.path(), manifest, "val"); }),
             "(the dataset has: train)");
}

INSTANTIATE_TEST_SUITE_P(Ways, Damage, ::testing::Values(ReaderMode::mmap, ReaderMode::independent),
                         [](const auto& test_info) {
                           return test_info.param == ReaderMode::mmap ? "mmap" : "independent";
                         });

}  // namespace
}  // namespace brigade::dataset::testing
