// Small collections of images made on the spot: pixels are a function of the sample, so any copy can be checked.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/dataset/ingest.hpp"
#include "brigade/dataset/reader.hpp"

namespace brigade::dataset::testing {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

// A directory of its own for each test, removed afterwards.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Byte `position` of sample `sample`.
std::uint8_t pixel(std::int64_t sample, std::int64_t position);
Bytes pixels_of(std::int64_t sample, const ImageShape& image);

class SyntheticSource final : public Source {
 public:
  SyntheticSource(std::int64_t samples, ImageShape image, std::int64_t classes = 5)
      : samples_(samples), image_(image), classes_(classes) {}
  std::int64_t samples() const override { return samples_; }
  std::optional<ImageShape> pixels() const override { return image_; }
  std::vector<std::string> classes() const override;
  std::int32_t label(std::int64_t index) const override { return static_cast<std::int32_t>(index % classes_); }
  std::string name(std::int64_t index) const override { return "made#" + std::to_string(index); }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override;

  std::set<std::int64_t> bad;                   // do not decode
  mutable std::atomic<std::int64_t> reads = 0;  // samples asked for
  std::int64_t original(const std::string& name) const { return std::stoll(name.substr(name.find('#') + 1)); }

 private:
  std::int64_t samples_;
  ImageShape image_;
  std::int64_t classes_;
};

Sources synthetic(std::int64_t train, std::int64_t test, ImageShape image = {3, 5, 3});

// Ingest by `ranks` ranks, one after the other, and the manifest.
Manifest ingest(const Sources& sources, const fs::path& directory, std::int64_t samples_per_shard, int ranks = 1,
                IngestResult* result = nullptr);

// Sample `index` as the source has it: pixels, or an image file.
Bytes fetch(const Source& source, std::int64_t index);

Bytes file_bytes(const fs::path& path);
void write_bytes(const fs::path& path, std::span<const std::uint8_t> bytes);
void write_gzip(const fs::path& path, std::span<const std::uint8_t> bytes);
// XORs one byte.
void flip_byte(const fs::path& path, std::uint64_t offset);

// An IDX file of unsigned bytes.
Bytes idx(std::span<const std::uint32_t> extents, std::span<const std::uint8_t> items);
// [height, width, components], 8 bits each; components 1 grey, 3 RGB, 4 CMYK (JPEG) or RGBA (PNG), 2 grey and alpha
// (PNG).
struct JpegStyle {
  int down = 2, across = 2;  // pixels that share a colour; not of grey and CMYK
  bool progressive = false;
};
Bytes jpeg(const Bytes& pixels, int height, int width, int components, int quality = 95, const JpegStyle& style = {});
Bytes png(const Bytes& pixels, int height, int width, int components);
// A palette PNG: pixels are indices of `colours` (RGB triples).
Bytes palette_png(const Bytes& pixels, int height, int width, const Bytes& colours);

// The message of the E that `call` throws.
template <class E, class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another kind of error: " << error.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

}  // namespace brigade::dataset::testing
