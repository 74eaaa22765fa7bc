/// Random access to the samples of one split.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

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

class SplitReader {
 public:
  virtual ~SplitReader() = default;
  virtual std::int64_t samples() const = 0;
  virtual ImageShape image() const = 0;
  /// Copies the pixels of the samples `indices` (each in [0, samples()), else DataError) to
  /// `pixels` [n, h, w, c] and their labels to `labels` [n]. Throws DataError naming file and index
  /// for a sample whose checksum does not match. Not thread-safe: one reader per thread.
  virtual void read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels) = 0;
  /// Where sample `index` came from (its source file, or "archive#number").
  virtual std::string name(std::int64_t index) const = 0;
};

/// Opens all shards of a split and compares them with the manifest: version, counts, shapes, sizes,
/// labels in range. Throws DataError that names the shard.
std::unique_ptr<SplitReader> open_split(const std::filesystem::path& directory, const Manifest& manifest,
                                        const std::string& split, const ReaderOptions& options = {});

}  // namespace brigade::dataset
