// Sources that are archives or lists: tar, TFRecord, npz, text lists, other datasets; and parts of sources.
#include <array>
#include <cstring>

#include "../src/dataset/source_support.hpp"
#include "../src/dataset/tfrecord.hpp"
#include "brigade/core/checksum.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

Sources open_at(const fs::path& path) { return open_sources({.path = path, .classes = {}, .split = {}}); }

std::string opening(const fs::path& path) {
  return message_of<DataError>([&] { open_at(path); });
}

Bytes to_bytes(const std::string& text) { return {text.begin(), text.end()}; }
void append(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

Bytes small_png(std::int64_t sample) { return png(pixels_of(sample, {4, 6, 3}), 4, 6, 3); }

// --- tar -------------------------------------------------------------------------------------------------------------

Bytes tar_member(const std::string& name, const Bytes& content, char type = '0') {
  Bytes header(512);
  std::memcpy(header.data(), name.data(), std::min<std::size_t>(name.size(), 100));
  std::memcpy(header.data() + 124, fmt::format("{:011o}", content.size()).data(), 11);
  header[156] = static_cast<std::uint8_t>(type);
  std::memcpy(header.data() + 257,
              "ustar\0"
              "00",
              8);
  std::memset(header.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (const auto byte : header) sum += byte;
  std::memcpy(header.data() + 148, fmt::format("{:06o}", sum).c_str(), 7);
  append(header, content);
  header.resize((header.size() + 511) / 512 * 512);
  return header;
}

Bytes tar_of(const std::vector<std::pair<std::string, Bytes>>& members) {
  Bytes archive;
  for (const auto& [name, content] : members) append(archive, tar_member(name, content));
  archive.resize(archive.size() + 1024);
  return archive;
}

TEST(Tar, SamplesAreFilesThatShareAName) {
  const TemporaryDirectory directory;
  write_bytes(directory / "a.tar", tar_of({{"x/000.png", small_png(0)},
                                           {"x/000.cls", to_bytes("dog\n")},
                                           {"readme.txt", to_bytes("nothing")},
                                           {"x/001.json", to_bytes(R"({"label": "cat"})")},
                                           {"x/001.seg.png", small_png(7)},
                                           {"x/001.png", small_png(1)}}));
  write_bytes(directory / "b.tar", tar_of({{"000.png", small_png(2)}, {"000.cls", to_bytes("cat")}}));
  const auto sources = open_at(directory.path());
  ASSERT_EQ(sources.size(), 1U);
  const Source& source = *sources.at("train");
  ASSERT_EQ(source.samples(), 3);
  EXPECT_EQ(source.classes(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(source.label(0), 1);
  EXPECT_EQ(source.label(1), 0);
  EXPECT_EQ(source.name(1), "a.tar#x/001.png");
  EXPECT_EQ(source.name(2), "b.tar#000.png");
  for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(fetch(source, i), small_png(i)) << i;
}

TEST(Tar, SplitsByName) {
  const TemporaryDirectory directory;
  for (const std::string name : {"set-train-0.tar", "set-train-1.tar", "set-val-0.tar"})
    write_bytes(directory / name, tar_of({{"0.png", small_png(0)}, {"0.cls", to_bytes("3")}}));
  const std::string names = "zero\none\ntwo\nthree\n";
  write_bytes(directory / "classes.txt", to_bytes(names));
  const auto sources = open_at(directory.path());
  EXPECT_EQ(sources.at("train")->samples(), 2);
  EXPECT_EQ(sources.at("val")->samples(), 1);
  EXPECT_EQ(sources.at("val")->label(0), 3);
  EXPECT_EQ(sources.at("val")->classes().at(3), "three");
}

TEST(Tar, LongNamesOfPaxAndGnu) {
  const TemporaryDirectory directory;
  const std::string name = std::string(150, 'n') + "/1.png", record = " path=" + name + "\n";
  Bytes archive = tar_member("x", to_bytes(std::to_string(record.size() + 3) + record), 'x');
  append(archive, tar_member("short.png", small_png(0)));
  append(archive, tar_member("././@LongLink", to_bytes(name.substr(0, 151) + "1.cls") /* a name and its end */, 'L'));
  append(archive, tar_member("short.cls", to_bytes("5")));
  archive.resize(archive.size() + 1024);
  write_bytes(directory / "a.tar", archive);
  const auto sources = open_at(directory / "a.tar");
  EXPECT_EQ(sources.at("train")->name(0), "a.tar#" + name);
  EXPECT_EQ(sources.at("train")->label(0), 5);
}

TEST(Tar, DamageIsNamed) {
  const TemporaryDirectory directory;
  const auto path = directory / "a.tar";
  const auto good = tar_of({{"0.png", small_png(0)}, {"0.cls", to_bytes("3")}});
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{600}, good.size() - 1024}) {
    write_bytes(path, std::span(good).first(size));
    EXPECT_HAS(opening(path), "truncated");
    EXPECT_HAS(opening(path), "a.tar");
  }
  auto flipped = good;
  flipped[3] ^= 1;
  write_bytes(path, flipped);
  EXPECT_HAS(opening(path), "checksum is wrong");
  write_gzip(path, good);
  EXPECT_HAS(opening(path), "a.tar");
  write_bytes(path, tar_of({{"0.png", small_png(0)}}));
  EXPECT_HAS(opening(path), "has no label");
  write_bytes(path, tar_of({{"0.png", small_png(0)}, {"0.json", to_bytes("[1")}}));
  EXPECT_HAS(opening(path), "holds no label");
  write_bytes(path, tar_of({{"0.txt", to_bytes("3")}}));
  EXPECT_HAS(opening(path), "holds no samples");
}

TEST(Tar, AFileThatGotShorterEndsIngest) {
  const TemporaryDirectory directory;
  write_bytes(directory / "a.tar", tar_of({{"0.png", small_png(0)}, {"0.cls", to_bytes("3")}}));
  const auto sources = open_at(directory / "a.tar");
  fs::resize_file(directory / "a.tar", 520);
  EXPECT_HAS(message_of<SourceError>([&] { fetch(*sources.at("train"), 0); }), "is truncated");
}

// --- TFRecord --------------------------------------------------------------------------------------------------------

Bytes varint(std::uint64_t value) {
  Bytes bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<std::uint8_t>(value | 0x80));
  bytes.push_back(static_cast<std::uint8_t>(value));
  return bytes;
}

Bytes field(int number, const Bytes& content) {
  Bytes bytes = varint(static_cast<std::uint64_t>(number) << 3 | 2);
  append(bytes, varint(content.size()));
  append(bytes, content);
  return bytes;
}

Bytes feature(const std::string& key, int kind, const Bytes& value) {
  Bytes entry = field(1, to_bytes(key));
  append(entry, field(2, field(kind, field(1, value))));
  return field(1, entry);
}

Bytes example(const Bytes& image, int label, const std::string& text = "") {
  Bytes features = feature("image/class/label", 3, varint(static_cast<std::uint64_t>(label)));
  append(features, feature("image/height", 3, varint(4)));
  append(features, feature("image/encoded", 1, image));
  if (!text.empty()) append(features, feature("image/class/text", 1, to_bytes(text)));
  return field(1, features);
}

void append_number(Bytes& bytes, std::uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

Bytes record(const Bytes& data) {
  Bytes bytes;
  append_number(bytes, data.size(), 8);
  append_number(bytes, tfrecord_checksum(std::as_bytes(std::span(bytes))), 4);
  append(bytes, data);
  append_number(bytes, tfrecord_checksum(std::as_bytes(std::span(data))), 4);
  return bytes;
}

TEST(Tfrecord, ChecksumIsTheMaskedOne) {
  // TensorFlow's own record of an empty string: length 0, masked CRC-32C of eight zeros.
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(tfrecord_checksum({}), 0xa282ead8U);
  EXPECT_EQ(record({}), (Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0x29, 0x03, 0x98, 0x07, 0xd8, 0xea, 0x82, 0xa2}));
}

TEST(Tfrecord, ImagesAndLabels) {
  const TemporaryDirectory directory;
  Bytes train = record(example(small_png(0), 2, "two"));
  append(train, record(example(small_png(1), 0, "zero")));
  write_bytes(directory / "x_train_0-of-1.tfrecord", train);
  write_bytes(directory / "x_validation_0-of-1.tfrecord", record(example(small_png(2), 2, "two")));
  const auto sources = open_at(directory.path());
  ASSERT_EQ(sources.size(), 2U);
  EXPECT_EQ(sources.at("train")->classes(), (std::vector<std::string>{"zero", "1", "two"}));
  EXPECT_EQ(sources.at("train")->label(0), 2);
  EXPECT_EQ(sources.at("train")->name(1), "x_train_0-of-1.tfrecord#1");
  EXPECT_EQ(fetch(*sources.at("train"), 1), small_png(1));
  EXPECT_EQ(fetch(*sources.at("val"), 0), small_png(2));
}

TEST(Tfrecord, DamageIsNamed) {
  const TemporaryDirectory directory;
  const auto path = directory / "a.tfrecord";
  Bytes good = record(example(small_png(0), 1));
  const std::size_t second = good.size();
  append(good, record(example(small_png(1), 0)));
  for (const std::size_t size : {second + 5, second + 13, good.size() - 1}) {
    write_bytes(path, std::span(good).first(size));
    EXPECT_HAS(opening(path), "truncated in record 1");
  }
  auto flipped = good;
  flipped[second] ^= 1;
  write_bytes(path, flipped);
  EXPECT_HAS(opening(path), "damaged at record 1");
  flipped = good;
  flipped[good.size() - 30] ^= 1;  // in the image: that sample alone
  write_bytes(path, flipped);
  const auto sources = open_at(path);
  EXPECT_EQ(fetch(*sources.at("train"), 0), small_png(0));
  EXPECT_HAS(message_of<DataError>([&] { fetch(*sources.at("train"), 1); }), "CRC-32C");
  write_bytes(path, record(feature("image/encoded", 1, small_png(0))));
  EXPECT_HAS(opening(path), "a.tfrecord#0");
  write_bytes(path, record(to_bytes("no example at all")));
  EXPECT_HAS(opening(path), "a.tfrecord#0");
  write_gzip(path, good);
  EXPECT_HAS(opening(path), "Is it a TFRecord file");
}

// --- npz -------------------------------------------------------------------------------------------------------------

bool run_python(const std::string& script) {
  return std::system(("/usr/bin/python3 -c \"import numpy as np; " + script + "\"").c_str()) == 0;
}

TEST(Npz, StoredAndDeflated) {
  if (!run_python("")) GTEST_SKIP() << "numpy is not installed";
  const TemporaryDirectory directory;
  for (const std::string how : {"savez", "savez_compressed"}) {
    const auto path = directory / (how + ".npz");
    ASSERT_TRUE(run_python("n = np.arange(5 * 4 * 6); x = (n % 251).astype(np.uint8).reshape(5, 4, 6); np." + how +
                           "('" + path.string() +
                           "', x_train=x, y_train=np.array([3, 0, 1, 2, 3]), x_test=x[:2], "
                           "y_test=np.array([[1], [2]], dtype=np.uint8))"));
    const auto sources = open_at(path);
    ASSERT_EQ(sources.size(), 2U);
    const Source& source = *sources.at("train");
    EXPECT_EQ(source.pixels(), (ImageShape{4, 6, 1}));
    EXPECT_EQ(source.classes().size(), 4U);
    EXPECT_EQ(source.label(0), 3);
    EXPECT_EQ(sources.at("test")->label(1), 2);
    EXPECT_EQ(source.name(2), how + ".npz:x_train#2");
    for (std::int64_t i = 0; i < 5; ++i) {
      const auto pixels = fetch(source, i);
      ASSERT_EQ(pixels.size(), 24U);
      for (std::int64_t p = 0; p < 24; ++p) EXPECT_EQ(pixels[static_cast<std::size_t>(p)], (i * 24 + p) % 251);
    }
  }
}

TEST(Npz, DamageIsNamed) {
  if (!run_python("")) GTEST_SKIP() << "numpy is not installed";
  const TemporaryDirectory directory;
  const auto save = [&](const std::string& name, const std::string& arrays) {
    EXPECT_TRUE(run_python("np.savez('" + (directory / name).string() + "', " + arrays + ")"));
    return directory / name;
  };
  const std::string x = "x_train=np.ones((4, 28, 28), np.uint8)", y = "y_train=np.arange(4)";
  EXPECT_HAS(opening(save("a.npz", x)), "has no labels (y_train is missing)");
  EXPECT_HAS(opening(save("b.npz", x + ", y_train=np.arange(3)")), "holds 4 images, but there are 3 labels");
  EXPECT_HAS(opening(save("c.npz", "x_train=np.ones((4, 28, 28)), " + y)), "holds no images");
  EXPECT_HAS(opening(save("d.npz", x + ", y_train=-np.arange(4)")), "is label");
  EXPECT_HAS(opening(save("e.npz", "other=np.ones(3)")), "holds no images");
  const auto good = file_bytes(save("f.npz", x + ", " + y));
  write_bytes(directory / "g.npz", std::span(good).first(good.size() / 2));
  EXPECT_HAS(opening(directory / "g.npz"), "truncated");
  auto flipped = good;
  flipped[1500] ^= 1;  // a pixel
  write_bytes(directory / "h.npz", flipped);
  const auto sources = open_at(directory / "h.npz");
  EXPECT_HAS(message_of<SourceError>([&] { fetch(*sources.at("train"), 0); }), "CRC-32");
}

// --- lists -----------------------------------------------------------------------------------------------------------

TEST(List, PathsAndLabels) {
  const TemporaryDirectory directory;
  write_bytes(directory / "a b/0.png", small_png(0));
  write_bytes(directory / "1.png", small_png(1));
  write_bytes(directory / "list.txt",
              to_bytes("# path, label\na b/0.png, dog\n1.png\tcat\n" + (directory / "1.png").string() + " dog\n"));
  const auto sources = open_at(directory / "list.txt");
  const Source& source = *sources.at("train");
  ASSERT_EQ(source.samples(), 3);
  EXPECT_EQ(source.classes(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(source.label(0), 1);
  EXPECT_EQ(source.name(0), "a b/0.png");
  EXPECT_EQ(fetch(source, 0), small_png(0));
  EXPECT_EQ(fetch(source, 2), small_png(1));
  write_bytes(directory / "list.txt", to_bytes("justapath\n"));
  EXPECT_HAS(opening(directory / "list.txt"), "has no path and label");
  write_bytes(directory / "list.txt", to_bytes("1.png 1\nmissing.png 0\n"));
  EXPECT_HAS(message_of<DataError>([&] { fetch(*open_at(directory / "list.txt").at("train"), 1); }), "missing.png");
  write_bytes(directory / "classes.txt", to_bytes("only\n"));
  EXPECT_HAS(opening(directory / "list.txt"), "has label 1 (there are 1 class names)");
}

// --- other datasets, layouts -----------------------------------------------------------------------------------------

Manifest convert(const Sources& sources, IngestOptions options, IngestResult* result = nullptr) {
  for (int rank = 0; rank < options.size; ++rank) {
    options.rank = rank;
    const auto mine = ingest_shards(sources, options);
    if (result != nullptr) result->kept += mine.kept;
  }
  return finish_ingest(sources, options);
}

// Pixels, labels and names of a split, by name.
std::map<std::string, std::pair<Bytes, std::int32_t>> contents(const fs::path& directory, ReaderMode mode) {
  const auto manifest = read_manifest(directory);
  const auto reader = open_split(directory, manifest, "train", {.mode = mode, .verify = Verify::always});
  std::map<std::string, std::pair<Bytes, std::int32_t>> samples;
  const auto bytes = static_cast<std::size_t>(reader->image().size());
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < reader->samples(); ++i) indices.push_back(reader->samples() - 1 - i);
  Bytes pixels(bytes * indices.size());
  std::vector<std::int32_t> labels(indices.size());
  reader->read(indices, pixels.data(), labels.data());
  for (std::size_t i = 0; i < indices.size(); ++i)
    samples[reader->name(indices[i])] = {Bytes(pixels.begin() + static_cast<std::ptrdiff_t>(i * bytes),
                                               pixels.begin() + static_cast<std::ptrdiff_t>((i + 1) * bytes)),
                                         labels[i]};
  return samples;
}

TEST(Layouts, HoldTheSamePixels) {
  const TemporaryDirectory directory;
  for (const std::int64_t channels : {1, 3}) {
    const auto sources = synthetic(50, 0, {9, 7, channels});
    IngestOptions options;
    options.samples_per_shard = 20;
    options.directory = directory / fmt::format("raw{}", channels);
    const auto raw = convert(sources, options);
    const auto expected = contents(options.directory, ReaderMode::mmap);
    ASSERT_EQ(expected.size(), 50U);
    options.directory = directory / fmt::format("deflate{}", channels);
    options.deflate = 6;
    EXPECT_EQ(convert(sources, options).mean, raw.mean);
    for (const auto mode : {ReaderMode::mmap, ReaderMode::independent})
      EXPECT_EQ(contents(options.directory, mode), expected);
    verify_shards(options.directory, read_manifest(options.directory), 0, 1);
    options.deflate = 0;
    options.layout = Layout::encoded;  // as PNG
    options.directory = directory / fmt::format("encoded{}", channels);
    EXPECT_EQ(convert(sources, options).stddev, raw.stddev);
    for (const auto mode : {ReaderMode::mmap, ReaderMode::independent})
      EXPECT_EQ(contents(options.directory, mode), expected);
    verify_shards(options.directory, read_manifest(options.directory), 0, 1);
    // And back: what was encoded is decoded into as many shards as one likes.
    options = {};
    options.directory = directory / fmt::format("back{}", channels);
    options.shards = 7;
    const auto back = convert(open_at(directory / fmt::format("encoded{}", channels)), options);
    EXPECT_EQ(back.split("train").shards.size(), 7U);
    EXPECT_EQ(back.image.channels, channels);
    EXPECT_EQ(contents(options.directory, ReaderMode::mmap), expected);
  }
}

TEST(Layouts, EncodedKeepsFilesAsTheyAre) {
  const TemporaryDirectory directory;
  const auto photo = file_bytes(BRIGADE_SOURCE_DIR "/tests/dataset/fixtures/large.jpg");
  write_bytes(directory / "in/a/1.jpg", photo);
  write_bytes(directory / "in/b/2.png", small_png(1));
  IngestOptions options;
  options.directory = directory / "out";
  options.layout = Layout::encoded;
  options.image_size = 24;
  options.resize = Resize::pad;
  const auto sources = open_at(directory / "in");
  convert(sources, options);
  const auto manifest = read_manifest(options.directory);
  EXPECT_EQ(manifest.layout, Layout::encoded);
  EXPECT_EQ(manifest.resize, Resize::pad);
  EXPECT_EQ(manifest.image, (ImageShape{24, 24, 3}));
  const auto again = open_at(options.directory);
  for (std::int64_t i = 0; i < 2; ++i) {
    const auto name = again.at("train")->name(i);
    EXPECT_EQ(fetch(*again.at("train"), i), name == "a/1.jpg" ? photo : small_png(1));
  }
  IngestResult result;
  convert(sources, options, &result);
  EXPECT_EQ(result.kept, 2);
  options.resize = Resize::squash;  // another plan
  EXPECT_EQ(ingest_shards(sources, options).kept, 0);
}

TEST(Layouts, TheSameBytesForAnyNumberOfRanksAndThreads) {
  const TemporaryDirectory directory;
  const auto sources = synthetic(103, 17, {9, 7, 3});
  for (const auto layout : {Layout::raw, Layout::encoded}) {
    std::map<std::string, Bytes> expected;
    for (const auto& [ranks, threads] : {std::pair{1, 1}, std::pair{1, 4}, std::pair{3, 2}}) {
      IngestOptions options;
      options.directory = directory / fmt::format("{}-{}-{}", static_cast<int>(layout), ranks, threads);
      options.shards = 5;
      options.layout = layout;
      options.quality = layout == Layout::encoded ? 90 : 0;
      options.deflate = layout == Layout::raw ? 4 : 0;
      options.size = ranks;
      options.threads = threads;
      convert(sources, options);
      std::map<std::string, Bytes> files;
      for (const auto& entry : fs::directory_iterator(options.directory))
        files[entry.path().filename().string()] = file_bytes(entry.path());
      EXPECT_EQ(files.size(), 11U);
      if (expected.empty()) expected = files;
      EXPECT_EQ(files, expected) << ranks << " ranks, " << threads << " threads";
    }
  }
}

TEST(Layouts, OptionsThatExcludeOneAnother) {
  const auto sources = synthetic(3, 0);
  const auto refusal = [&](auto change) {
    const TemporaryDirectory directory;
    IngestOptions options;
    options.directory = directory.path();
    change(options);
    return message_of<OptionError>([&] { ingest_shards(sources, options); });
  };
  EXPECT_HAS(refusal([](auto& options) { options.quality = 90; }), "belongs to encoded");
  EXPECT_HAS(refusal([](auto& options) { options.deflate = 10; }), "deflate level 10");
  EXPECT_HAS(refusal([](auto& options) { options.shards = -1; }), "-1 shards");
  EXPECT_HAS(refusal([](auto& options) {
               options.layout = Layout::encoded;
               options.deflate = 1;
             }),
             "are not deflated");
}

// --- parts -----------------------------------------------------------------------------------------------------------

SourceOptions of_dataset(const fs::path& path) { return {.path = path, .classes = {}, .split = {}}; }

TEST(Selection, ClassesLimitsAndSplits) {
  const TemporaryDirectory directory;
  ingest(synthetic(100, 0, {2, 2, 1}), directory / "in", 50);  // 5 classes of 20
  auto options = of_dataset(directory / "in");
  options.classes = {"class 4", "class 1"};
  options.limit_per_class = 10;
  options.split = {{"train", 0.7}, {"val", 0.3}};
  const auto sources = open_sources(options);
  ASSERT_EQ(sources.size(), 2U);
  std::set<std::string> names;
  for (const auto& [split, expected] : {std::pair{"train", 7}, std::pair{"val", 3}}) {
    const Source& source = *sources.at(split);
    EXPECT_EQ(source.classes(), options.classes);
    ASSERT_EQ(source.samples(), 2 * expected);
    int first = 0;
    for (std::int64_t i = 0; i < source.samples(); ++i) {
      first += source.label(i) == 0 ? 1 : 0;
      names.insert(source.name(i));
      const auto original = std::stoll(source.name(i).substr(5));  // "made#7"
      EXPECT_EQ(original % 5, source.label(i) == 0 ? 4 : 1);
      EXPECT_EQ(fetch(source, i), pixels_of(original, {2, 2, 1}));
    }
    EXPECT_EQ(first, expected);
  }
  EXPECT_EQ(names.size(), 20U);
  // Cut otherwise, the same samples fall into the same split.
  ingest(open_at(directory / "in"), directory / "again", 9);
  auto other = options;
  other.path = directory / "again";
  std::set<std::string> again;
  const auto same = open_sources(other);
  for (std::int64_t i = 0; i < same.at("val")->samples(); ++i) again.insert(same.at("val")->name(i));
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_TRUE(again.contains(sources.at("val")->name(i)));
}

TEST(Selection, RefusesWhatIsNotThere) {
  const TemporaryDirectory directory;
  ingest(synthetic(10, 5, {2, 2, 1}), directory / "in", 50);
  const auto refusal = [&](auto change) {
    auto options = of_dataset(directory / "in");
    change(options);
    return message_of<OptionError>([&] { open_sources(options); });
  };
  EXPECT_HAS(refusal([](auto& o) { o.classes = {"class 9"}; }), "no class 'class 9'");
  EXPECT_HAS(refusal([](auto& o) { o.classes = {"class 1", "class 1"}; }), "twice");
  EXPECT_HAS(refusal([](auto& o) { o.split = {{"train", 0.5}}; }), "2 splits of its own");
  ingest(synthetic(10, 0, {2, 2, 1}), directory / "in", 50);
  EXPECT_HAS(refusal([](auto& o) { o.split = {{"a", 0.8}, {"b", 0.3}}; }), "add up to 1.1");
}

}  // namespace
}  // namespace brigade::dataset::testing
