#include "brigade/dataset/reader.hpp"

#include <algorithm>
#include <numeric>

#include "brigade/dataset/sampling.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

constexpr ImageShape kImage{3, 5, 3};

class Reader : public ::testing::TestWithParam<std::tuple<ReaderMode, Verify>> {
 protected:
  ReaderOptions options() const { return {.mode = std::get<0>(GetParam()), .verify = std::get<1>(GetParam())}; }
};

TEST_P(Reader, GivesEverySampleAsItWasMade) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(103, 17, kImage);
  const auto& source = static_cast<const SyntheticSource&>(*sources.at("train"));
  const auto manifest = ingest(sources, directory.path(), 20);
  const auto reader = open_split(directory.path(), manifest, "train", options());
  ASSERT_EQ(reader->samples(), 103);
  EXPECT_EQ(reader->image(), kImage);

  std::vector<std::vector<std::int64_t>> batches(4);
  batches[0].resize(103);
  std::iota(batches[0].begin(), batches[0].end(), 0);  // in order, over the edges of shards
  batches[1] = {102, 0, 50, 51, 52, 49, 0, 0, 102};    // backwards, neighbours, repeated
  for (std::int64_t i = 0; i < 103; ++i) batches[2].push_back(Permutation(103, 1, 0)(i));
  std::set<std::int64_t> originals;
  for (const auto& indices : batches) {
    Bytes pixels(indices.size() * static_cast<std::size_t>(kImage.size()) + 1, 0xAB);
    std::vector<std::int32_t> labels(indices.size() + 1, -7);
    reader->read(indices, pixels.data(), labels.data());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const std::int64_t original = source.original(reader->name(indices[i]));
      const auto expected = pixels_of(original, kImage);
      EXPECT_TRUE(
          std::equal(expected.begin(), expected.end(), pixels.begin() + static_cast<std::ptrdiff_t>(i) * kImage.size()))
          << indices[i];
      EXPECT_EQ(labels[i], source.label(original));
      originals.insert(original);
    }
    EXPECT_EQ(pixels.back(), 0xAB);
    EXPECT_EQ(labels.back(), -7);
  }
  EXPECT_EQ(originals.size(), 103U);
}

TEST_P(Reader, RejectsASampleThatIsNotThere) {
  const TemporaryDirectory directory;
  const auto manifest = ingest(synthetic(10, 0, kImage), directory.path(), 4);
  const auto reader = open_split(directory.path(), manifest, "train", options());
  Bytes pixels(static_cast<std::size_t>(kImage.size()));
  std::int32_t label = 0;
  for (const std::int64_t index : {std::int64_t{-1}, std::int64_t{10}, std::int64_t{1} << 62}) {
    EXPECT_HAS(message_of<DataError>([&] { reader->read(std::span(&index, 1), pixels.data(), &label); }),
               "the split has 10");
    EXPECT_THROW((void)reader->name(index), DataError);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, Reader,
                         ::testing::Combine(::testing::Values(ReaderMode::mmap, ReaderMode::independent,
                                                              ReaderMode::preload),
                                            ::testing::Values(Verify::always, Verify::first, Verify::never)));

}  // namespace
}  // namespace brigade::dataset::testing
