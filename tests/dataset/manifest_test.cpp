#include "brigade/dataset/manifest.hpp"

#include "brigade/core/atomic_file.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

Manifest example() {
  Manifest manifest;
  manifest.classes = {"cat", "dog \"quoted\""};
  manifest.image = {28, 30, 3};
  manifest.mean = {0.1F, 0.2F, 1.0F / 3};
  manifest.stddev = {0.5F, 0.25F, 0.7F};
  manifest.splits["train"].shards = {{"a.h5", 10, 1000}, {"b.h5", 11, 1001}};
  manifest.splits["test"].shards = {{"c.h5", 0, 500}};
  return manifest;
}

TEST(Manifest, ReadsWhatWasWritten) {
  const TemporaryDirectory directory;
  const auto written = example();
  write_manifest(directory.path(), written);
  const auto read = read_manifest(directory.path());
  EXPECT_EQ(read.classes, written.classes);
  EXPECT_EQ(read.image, written.image);
  EXPECT_EQ(read.mean, written.mean);
  EXPECT_EQ(read.stddev, written.stddev);
  EXPECT_EQ(read.split("train").samples(), 21);
  EXPECT_EQ(read.split("test").samples(), 0);
  EXPECT_EQ(read.split("train").shards[1].file, "b.h5");
  EXPECT_EQ(read.split("train").shards[1].bytes, 1001);
}

// One word replaced by another, and what the message must say.
struct Change {
  const char *from, *to, *expected;
};

TEST(Manifest, DistrustsWhatItReads) {
  const TemporaryDirectory directory;
  write_manifest(directory.path(), example());
  const std::string good = read_file(directory / "manifest.json");
  for (const auto& [from, to, expected] : std::initializer_list<Change>{
           {"\"brigade_manifest_version\": 1", "\"brigade_manifest_version\": 2", "this program reads version 1"},
           {"\"layout\": \"raw\"", "\"layout\": \"folded\"", "\"layout\""},
           {"\"height\": 28", "\"height\": -28", "\"height\" is -28"},
           {"\"height\": 28", "\"height\": 28.5", "\"height\" is not a whole number"},
           {"\"width\": 30", "\"width\": 18446744073709551615", "\"width\""},
           {"\"channels\": 3", "\"channels\": 2", "\"channels\" is 2"},
           {"\"channels\": 3", "\"channels\": 1", "\"mean\""},
           {"\"samples\": 11", "\"samples\": -11", "\"samples\" is -11"},
           {"\"samples\": 11", "\"samples\": 12", "the shards hold 22"},
           {"\"samples\": 11", "\"samples\": \"11\"", "not a whole number"},
           {"\"a.h5\"", "\"../a.h5\"", "\"file\""},
           {"\"a.h5\"", "\"/etc/passwd\"", "\"file\""},
           {"\"a.h5\"", "\"..\"", "\"file\""},
           {"\"a.h5\"", "\"\"", "\"file\""},
           {"\"a.h5\"", "7", "damaged"},
           {"0.25", "0", "\"stddev\""},
           {"0.25", "1e99", "\"stddev\""},
           {"\"cat\"", "3", "damaged"},
           {"\"classes\"", "\"Classes\"", "damaged"},
           {"\"splits\": {", "\"splits\": [{", "damaged"},
           {"{", "", "damaged"},
       }) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), std::string(from).size(), to);
    write_file(directory / "manifest.json", text);
    const auto message = message_of<DataError>([&] { read_manifest(directory.path()); });
    EXPECT_HAS(message, "manifest.json") << from << " -> " << to;
    EXPECT_HAS(message, expected);
  }
}

TEST(Manifest, SaysWhatIsNotThere) {
  const TemporaryDirectory directory;
  EXPECT_HAS(message_of<DataError>([&] { read_manifest(directory / "nothing"); }), "is not a dataset");
  EXPECT_HAS(message_of<OptionError>([&] { (void)example().split("val"); }), "(the dataset has: test, train)");
}

}  // namespace
}  // namespace brigade::dataset::testing
