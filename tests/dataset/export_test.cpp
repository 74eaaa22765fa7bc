// Made-up pictures, and the same images in other formats: what goes out comes back.
#include "brigade/dataset/export.hpp"

#include "brigade/dataset/source_reader.hpp"
#include "brigade/dataset/synthetic.hpp"
#include "support.hpp"

namespace brigade::dataset::testing {
namespace {

const SyntheticImages kWanted{.samples = 23, .height = 20, .width = 33, .classes = 3, .seed = 5};

Sources open_at(const fs::path& path) {
  SourceOptions options;
  options.path = path;
  return open_sources(options);
}

// Pixels of all samples by one reader.
Bytes read_all(SplitReader& reader, std::vector<std::int32_t>& labels) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < reader.samples(); ++i) indices.push_back(i);
  Bytes pixels(indices.size() * static_cast<std::size_t>(reader.image().size()));
  labels.resize(indices.size());
  reader.read(indices, pixels.data(), labels.data());
  return pixels;
}

TEST(Synthetic, ASampleIsAFunctionOfSeedAndIndex) {
  const auto source = synthetic_source(kWanted), again = synthetic_source(kWanted);
  auto other = kWanted;
  other.seed = 6;
  EXPECT_EQ(source->samples(), 23);
  EXPECT_EQ(source->classes().size(), 3U);
  EXPECT_EQ(source->label(4), 1);
  EXPECT_EQ(fetch(*source, 7), fetch(*again, 7));
  EXPECT_NE(fetch(*source, 7), fetch(*source, 8));
  EXPECT_NE(fetch(*source, 7), fetch(*synthetic_source(other), 7));
  EXPECT_THROW(synthetic_source({.samples = 0, .height = 4, .width = 4}), OptionError);
  EXPECT_THROW(synthetic_source({.samples = 1, .height = 4, .width = 9000}), OptionError);
}

TEST(Synthetic, NeitherFlatNorAllNoise) {
  const auto reader = open_source_reader(synthetic_source(kWanted), {20, 33, 3}, Resize::squash);
  std::vector<std::int32_t> labels;
  const Bytes pixels = read_all(*reader, labels);
  const auto [low, high] = std::minmax_element(pixels.begin(), pixels.end());
  EXPECT_LT(*low, 40);
  EXPECT_GT(*high, 215);
  double steps = 0;  // between neighbours of one colour in a row: small where there is a picture
  for (std::size_t i = 3; i < pixels.size(); ++i) steps += std::abs(pixels[i] - pixels[i - 3]);
  EXPECT_LT(steps / static_cast<double>(pixels.size()), 30);
}

TEST(Export, FilesAndRecordsHoldTheSameImages) {
  const TemporaryDirectory directory;
  const auto source = synthetic_source(kWanted);
  for (int rank = 0; rank < 3; ++rank) {
    write_image_files(*source, directory / "files", {.rank = rank, .size = 3});
    write_tfrecords(*source, directory / "records", 10, {.rank = rank, .size = 3});
  }
  EXPECT_TRUE(fs::exists(directory / "records" / "train-00002-of-00003.tfrecord"));
  const auto records = open_at(directory / "records").at("train");
  ASSERT_EQ(records->samples(), 23);
  EXPECT_EQ(records->classes(), source->classes());
  for (std::int64_t i = 0; i < 23; ++i) {
    EXPECT_EQ(fetch(*records, i), fetch(*source, i));
    EXPECT_EQ(records->label(i), source->label(i));
  }
  const auto files = open_at(directory / "files").at("train");
  ASSERT_EQ(files->samples(), 23);
  EXPECT_EQ(files->classes(), source->classes());
  EXPECT_EQ(files->name(0), "0/00000000.jpg");
  EXPECT_EQ(files->name(22), "2/00000020.jpg");  // sorted by class, then by index
  EXPECT_EQ(fetch(*files, 22), fetch(*source, 20));
}

TEST(Export, PixelsBecomePng) {
  const TemporaryDirectory directory;
  const SyntheticSource source(6, {4, 7, 3}, 2);
  write_image_files(source, directory / "files", {});
  const auto files = open_at(directory / "files").at("train");
  const auto reader = open_source_reader(files, {4, 7, 3}, Resize::squash);
  EXPECT_EQ(reader->format().layout, Layout::encoded);
  std::vector<std::int32_t> labels;
  const Bytes pixels = read_all(*reader, labels);
  EXPECT_EQ(labels, (std::vector<std::int32_t>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(Bytes(pixels.begin() + 4 * 84, pixels.begin() + 5 * 84), pixels_of(3, {4, 7, 3}));
}

TEST(Export, AFullDiskIsAnError) {
  const SyntheticSource source(2, {4, 7, 3}, 1);
  EXPECT_HAS(message_of<DataError>([&] { write_tfrecords(source, "/proc/brigade", 1, {}); }), "cannot make");
}

TEST(Export, NamesOfClassesAreNamesOfDirectories) {
  EXPECT_EQ(directory_name("T-shirt/top"), "T-shirt_top");
  EXPECT_EQ(directory_name(".."), "_..");
  EXPECT_EQ(directory_name("rose"), "rose");
}

TEST(SourceReader, ReadsPixelsAsTheyAreAndCountsItsWork) {
  const auto source = std::make_shared<SyntheticSource>(9, ImageShape{3, 5, 3});
  const auto reader = open_source_reader(source, {3, 5, 3}, Resize::squash);
  const std::vector<std::int64_t> indices{8, 0, 8};
  Bytes pixels(3 * 45);
  std::vector<std::int32_t> labels(3);
  reader->read(indices, pixels.data(), labels.data());
  EXPECT_EQ(Bytes(pixels.begin() + 90, pixels.end()), pixels_of(8, {3, 5, 3}));
  EXPECT_EQ(labels, (std::vector<std::int32_t>{3, 0, 3}));
  EXPECT_EQ(reader->work().stored_bytes, 135);
  EXPECT_EQ(reader->work().decode_s, 0);
  EXPECT_EQ(reader->name(8), "made#8");
}

TEST(SourceReader, ABadSampleIsNamed) {
  const auto source = std::make_shared<SyntheticSource>(9, ImageShape{3, 5, 3});
  source->bad = {4};
  const auto reader = open_source_reader(source, {3, 5, 3}, Resize::squash);
  Bytes pixels(45);
  std::int32_t label = 0;
  const auto reading = [&](std::int64_t index) {
    return message_of<DataError>([&] { reader->read({&index, 1}, pixels.data(), &label); });
  };
  EXPECT_HAS(reading(4), "sample 4 (made#4)");
  EXPECT_HAS(reading(9), "there is no sample 9");
  EXPECT_THROW(open_source_reader(source, {3, 6, 3}, Resize::squash), OptionError);
}

}  // namespace
}  // namespace brigade::dataset::testing
