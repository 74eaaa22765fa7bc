#include <array>
#include <numeric>

#include "../src/dataset/decode_image.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

Bytes items(std::int64_t count, const ImageShape& image) {
  Bytes bytes;
  for (std::int64_t sample = 0; sample < count; ++sample) {
    const auto one = pixels_of(sample, image);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

// Decoded as ingest would.
Bytes pixels_of_file(const Source& source, std::int64_t index) {
  const auto file = fetch(source, index);
  return decode_image(std::as_bytes(std::span(file))).pixels;
}

Sources open_at(const fs::path& path) { return open_sources({.path = path, .classes = {}, .split = {}}); }

std::string opening(const fs::path& path, const std::string& format = "auto") {
  return message_of<DataError>([&] { open_sources({.path = path, .format = format, .classes = {}, .split = {}}); });
}

constexpr ImageShape kSmall{5, 7, 1};
constexpr std::array<std::uint32_t, 3> kExtents{4, 5, 7};
constexpr std::array<std::uint32_t, 1> kCount{4};

TEST(Idx, PlainAndGzip) {
  for (const bool gzip : {false, true}) {
    const TemporaryDirectory directory;
    const auto write = gzip ? write_gzip : write_bytes;
    const std::string suffix = gzip ? ".gz" : "";
    const Bytes labels{9, 0, 3, 1};
    for (const std::string prefix : {"train", "t10k"}) {
      write(directory / fmt::format("{}-images-idx3-ubyte{}", prefix, suffix), idx(kExtents, items(4, kSmall)));
      write(directory / fmt::format("{}-labels-idx1-ubyte{}", prefix, suffix), idx(kCount, labels));
    }
    const auto sources = open_at(directory.path());
    ASSERT_EQ(sources.size(), 2U);
    for (const std::string split : {"train", "test"}) {
      const Source& source = *sources.at(split);
      EXPECT_EQ(source.samples(), 4);
      EXPECT_EQ(source.pixels(), kSmall);
      EXPECT_EQ(source.classes()[9], "9");
      for (std::int64_t i = 0; i < 4; ++i) {
        EXPECT_EQ(fetch(source, i), pixels_of(i, kSmall));
        EXPECT_EQ(source.label(i), labels[static_cast<std::size_t>(i)]);
      }
    }
    EXPECT_EQ(sources.at("test")->name(2), "t10k-images-idx3-ubyte" + suffix + "#2");
  }
}

TEST(Idx, FashionHasNamesAndOthersGrow) {
  const TemporaryDirectory directory;
  for (const std::string name : {"fashion-mnist", "letters"}) {
    const Bytes labels{9, 0, 3, static_cast<std::uint8_t>(name == "letters" ? 25 : 1)};
    write_bytes(directory / (name + "/train-images-idx3-ubyte"), idx(kExtents, items(4, kSmall)));
    write_bytes(directory / (name + "/train-labels-idx1-ubyte"), idx(kCount, labels));
  }
  EXPECT_EQ(open_at(directory / "fashion-mnist").at("train")->classes()[9], "Ankle boot");
  EXPECT_EQ(open_at(directory / "letters").at("train")->classes().size(), 26U);
}

TEST(Idx, HeadersAreDistrusted) {
  const TemporaryDirectory directory;
  const auto images = directory / "train-images-idx3-ubyte", labels = directory / "train-labels-idx1-ubyte";
  const auto good_images = idx(kExtents, items(4, kSmall)), good_labels = idx(kCount, Bytes{0, 1, 2, 3});
  write_bytes(images, good_images);
  EXPECT_HAS(opening(directory.path()), "has no labels");
  write_bytes(labels, good_labels);
  EXPECT_EQ(open_at(directory.path()).at("train")->samples(), 4);

  write_bytes(images, std::span(good_images).first(good_images.size() - 1));
  EXPECT_HAS(opening(directory.path()), "does not hold the 4 items");
  write_bytes(images, idx(std::array{0xFFFFFFFFU, 60000U, 60000U}, items(4, kSmall)));
  EXPECT_HAS(opening(directory.path()), "does not hold the 4294967295 items");
  write_bytes(images, idx(std::array{4U, 0U, 7U}, {}));
  EXPECT_HAS(opening(directory.path()), "0 pixels a side");
  write_bytes(images, Bytes{0, 0, 8});
  EXPECT_THROW(open_at(directory.path()), Error);
  write_bytes(images, good_labels);
  EXPECT_HAS(opening(directory.path()), "is not an IDX file");
  write_bytes(images, good_images);
  write_bytes(labels, idx(std::array{3U}, Bytes{0, 1, 2}));
  EXPECT_HAS(opening(directory.path()), "3 labels");
}

TEST(Idx, AGzipBombOrADamagedFileEndsIngestInsteadOfFailingEverySample) {
  const TemporaryDirectory directory;
  write_bytes(directory / "train-labels-idx1-ubyte", idx(kCount, Bytes{0, 1, 2, 3}));
  const auto images = directory / "train-images-idx3-ubyte.gz";
  write_gzip(images, idx(std::array{4U, 60000U, 60000U}, {}));  // claims 14 GB in 30 bytes
  EXPECT_HAS(opening(directory.path()), "does not hold the 4 items");

  auto packed = idx(kExtents, items(4, kSmall));
  packed.pop_back();
  write_gzip(images, packed);
  const auto sources = open_at(directory.path());
  EXPECT_HAS(message_of<Error>([&] { ingest(sources, directory / "out", 2); }), "truncated or damaged");
}

Bytes cifar(std::int64_t count, std::size_t label_bytes, std::uint8_t first_label) {
  Bytes bytes;
  for (std::int64_t sample = 0; sample < count; ++sample) {
    if (label_bytes == 2) bytes.push_back(77);
    bytes.push_back(static_cast<std::uint8_t>(first_label + sample));
    for (std::int64_t c = 0; c < 3; ++c)  // planes
      for (std::int64_t i = 0; i < 1024; ++i) bytes.push_back(pixel(sample, 3 * i + c));
  }
  return bytes;
}

TEST(Cifar, TenAndHundred) {
  const TemporaryDirectory directory;
  write_bytes(directory / "10/data_batch_1.bin", cifar(3, 1, 5));
  write_bytes(directory / "10/data_batch_2.bin", cifar(2, 1, 0));
  write_bytes(directory / "10/test_batch.bin", cifar(1, 1, 9));
  const std::string names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
  write_bytes(directory / "10/batches.meta.txt", Bytes(names.begin(), names.end()));
  write_bytes(directory / "100/train.bin", cifar(3, 2, 97));
  const auto ten = open_at(directory / "10"), hundred = open_at(directory / "100");

  EXPECT_EQ(ten.at("train")->samples(), 5);
  EXPECT_EQ(ten.at("test")->samples(), 1);
  EXPECT_EQ(ten.at("train")->classes()[9], "truck");
  EXPECT_EQ(ten.at("train")->pixels(), (ImageShape{32, 32, 3}));
  EXPECT_EQ(ten.at("train")->label(2), 7);
  EXPECT_EQ(ten.at("train")->label(4), 1);
  EXPECT_EQ(ten.at("train")->name(4), "data_batch_2.bin#1");
  EXPECT_EQ(fetch(*ten.at("train"), 4), pixels_of(1, {32, 32, 3}));
  EXPECT_EQ(hundred.size(), 1U);
  EXPECT_EQ(hundred.at("train")->classes().size(), 100U);
  EXPECT_EQ(hundred.at("train")->label(2), 99);
  EXPECT_EQ(fetch(*hundred.at("train"), 2), pixels_of(2, {32, 32, 3}));
}

TEST(Cifar, RejectsWhatIsNotWhole) {
  const TemporaryDirectory directory;
  auto bytes = cifar(2, 1, 0);
  bytes.pop_back();
  write_bytes(directory / "data_batch_1.bin", bytes);
  EXPECT_HAS(opening(directory.path()), "not a multiple of the 3073");
  write_bytes(directory / "data_batch_1.bin", cifar(2, 1, 9));
  EXPECT_HAS(opening(directory.path()), "data_batch_1.bin#1 has label 10");
}

Bytes flat_png(std::uint8_t value, int height, int width) {
  return png(Bytes(static_cast<std::size_t>(3 * height * width), value), height, width, 3);
}

TEST(Folder, AClassPerDirectory) {
  const TemporaryDirectory directory;
  write_bytes(directory / "b/2.PNG", flat_png(20, 4, 6));
  write_bytes(directory / "a/deep/1.png", flat_png(10, 4, 6));
  write_bytes(directory / "a/readme.txt", Bytes{'x'});
  const auto sources = open_at(directory.path());
  const Source& source = *sources.at("train");
  EXPECT_EQ(sources.size(), 1U);
  EXPECT_EQ(source.classes(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(source.samples(), 2);
  EXPECT_EQ(source.pixels(), std::nullopt);
  EXPECT_EQ(source.name(0), "a/deep/1.png");
  EXPECT_EQ(source.label(1), 1);
  EXPECT_EQ(pixels_of_file(source, 1), Bytes(4 * 6 * 3, 20));
}

TEST(Folder, SplitsAboveClasses) {
  const TemporaryDirectory directory;
  write_bytes(directory / "train/a/1.png", flat_png(1, 4, 4));
  write_bytes(directory / "train/b/1.png", flat_png(2, 4, 4));
  write_bytes(directory / "val/b/1.png", flat_png(3, 4, 4));
  write_bytes(directory / "test/images/1.png", flat_png(4, 4, 4));  // without labels: left out
  const auto sources = open_at(directory.path());
  ASSERT_EQ(sources.size(), 2U);
  EXPECT_EQ(sources.at("val")->label(0), 1);
  EXPECT_EQ(sources.at("val")->classes(), sources.at("train")->classes());
  EXPECT_EQ(sources.at("val")->name(0), "val/b/1.png");
  write_bytes(directory / "val/c/1.png", flat_png(3, 4, 4));
  EXPECT_HAS(opening(directory.path()), "is no class of the training data");
}

TEST(Folder, TinyImageNetAnnotations) {
  const TemporaryDirectory directory;
  write_bytes(directory / "train/n01/images/n01_0.png", flat_png(1, 4, 4));
  write_bytes(directory / "train/n02/images/n02_0.png", flat_png(2, 4, 4));
  write_bytes(directory / "val/images/val_0.png", flat_png(3, 4, 4));
  const auto annotate = [&](const std::string& text) {
    write_bytes(directory / "val/val_annotations.txt", Bytes(text.begin(), text.end()));
  };
  annotate("val_0.png\tn02\t0\t0\t62\t62\n");
  const auto sources = open_at(directory.path());
  EXPECT_EQ(sources.at("val")->label(0), 1);
  EXPECT_EQ(pixels_of_file(*sources.at("val"), 0), Bytes(48, 3));
  annotate("../../secret n02\n");
  EXPECT_HAS(opening(directory.path()), "val_annotations.txt");
  annotate("val_0.png n03\n");
  EXPECT_HAS(opening(directory.path()), "names no class");
}

TEST(Folder, UndecodableAndOddSizedImagesAreListedByIngest) {
  const TemporaryDirectory directory;
  const auto cut = [](Bytes bytes) {
    bytes.resize(bytes.size() * 2 / 3);
    return bytes;
  };
  Bytes noise(64 * 64 * 3);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = pixel(0, static_cast<std::int64_t>(i));
  write_bytes(directory / "in/a/0-cut.jpg", cut(jpeg(noise, 64, 64, 3)));
  write_bytes(directory / "in/a/1-good.jpg", jpeg(noise, 64, 64, 3));
  write_bytes(directory / "in/a/2-cut.png", cut(png(noise, 64, 64, 3)));
  write_bytes(directory / "in/a/3-small.png", flat_png(1, 4, 4));
  write_bytes(directory / "in/a/4-text.png", Bytes{'h', 'i'});
  write_bytes(directory / "in/a/5-empty.jpg", {});
  write_bytes(directory / "in/b/6-good.png", flat_png(9, 64, 64));
  IngestResult result;
  const auto sources = open_at(directory / "in");
  const auto manifest = ingest(sources, directory / "out", 100, 1, &result);
  std::map<std::string, std::string> why;
  for (const auto& bad : result.bad) why[bad.name] = bad.why;
  EXPECT_EQ(manifest.image, (ImageShape{64, 64, 3}));
  EXPECT_EQ(manifest.split("train").samples(), 2);
  ASSERT_EQ(why.size(), 5U);
  EXPECT_HAS(why["a/0-cut.jpg"], "not a complete JPEG");
  EXPECT_HAS(why["a/2-cut.png"], "not a complete PNG");
  EXPECT_HAS(why["a/3-small.png"], "4x4 pixels (expected 64x64");
  EXPECT_HAS(why["a/4-text.png"], "neither JPEG nor PNG");
  EXPECT_HAS(why["a/5-empty.jpg"], "empty");
}

TEST(Sources, SaysWhatItLookedFor) {
  const TemporaryDirectory directory;
  EXPECT_HAS(opening(directory / "nothing"), "cannot be read");
  EXPECT_HAS(opening(directory.path()), "holds nothing known");
  EXPECT_HAS(opening(directory.path(), "idx"), "holds no IDX images");
  EXPECT_HAS(opening(directory.path(), "cifar"), "holds no CIFAR");
  EXPECT_HAS(opening(directory.path(), "folder"), "no directories of images");
  fs::create_directories(directory / "empty");
  EXPECT_HAS(opening(directory.path()), "no JPEG or PNG images");
  EXPECT_HAS(message_of<OptionError>(
                 [&] { open_sources({.path = directory.path(), .format = "zip", .classes = {}, .split = {}}); }),
             "zip");
  EXPECT_THROW(open_sources({.path = directory.path(), .classes = {}, .limit_per_class = -1, .split = {}}),
               OptionError);
}

}  // namespace
}  // namespace brigade::dataset::testing
