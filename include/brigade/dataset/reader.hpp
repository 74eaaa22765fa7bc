/// Random access to the samples of one split.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "brigade/dataset/manifest.hpp"

namespace brigade::dataset {

enum class ReaderMode : std::uint8_t {
  mmap,         ///< memory map of the contiguous dataset
  independent,  ///< H5Dread
};

enum class Verify : std::uint8_t {
  always,  ///< every sample, every time
  first,   ///< every sample when it is first read
  never,
};

struct ReaderOptions {
  ReaderMode mode = ReaderMode::mmap;
  Verify verify = Verify::first;
};

/// What the bytes of a stored sample are.
struct SampleFormat {
  ImageShape image;
  Layout layout = Layout::raw;
  Resize resize = Resize::squash;  ///< encoded only: how images are brought to `image`
};

/// Not thread-safe: one reader per thread.
class SplitReader {
 public:
  virtual ~SplitReader() = default;
  virtual std::int64_t samples() const = 0;
  virtual const SampleFormat& format() const = 0;
  const ImageShape& image() const { return format().image; }
  /// Finds the samples `indices` (each in [0, samples()), else DataError): what is stored of each, pixels [h, w, c] or
  /// an image file, as bytes that stay until the next call, and their labels; both [n]. Throws DataError naming file
  /// and index for a sample whose checksum does not match.
  virtual void fetch(std::span<const std::int64_t> indices, std::span<const std::byte>* stored,
                     std::int32_t* labels) = 0;
  /// Likewise, but as pixels [n, h, w, c], decoded if need be.
  void read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels);
  /// Where sample `index` came from (its source file, or "archive#number").
  virtual std::string name(std::int64_t index) const = 0;
  /// Where it lies now, for messages: shard, row and name.
  virtual std::string place(std::int64_t index) const = 0;

 private:
  std::vector<std::span<const std::byte>> stored_;
};

/// Opens all shards of a split and compares them with the manifest: version, counts, shapes, sizes,
/// labels in range. Throws DataError that names the shard.
std::unique_ptr<SplitReader> open_split(const std::filesystem::path& directory, const Manifest& manifest,
                                        const std::string& split, const ReaderOptions& options = {});

}  // namespace brigade::dataset
