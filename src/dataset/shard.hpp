// One shard: an HDF5 file with `/images` uint8 [n, h, w, c], `/labels` int32 [n], `/checksums` uint32 [n],
// `/names` fixed-length strings [n] and `/skipped` int64 [k] (docs/formats.md).
//
// The datasets are contiguous, so that a reader may map them, and large ones begin on page boundaries; object times are
// switched off, so that equal contents are equal bytes.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "brigade/core/atomic_file.hpp"
#include "brigade/dataset/manifest.hpp"
#include "hdf5.hpp"
#include "mapped_file.hpp"

namespace brigade::dataset {

inline constexpr std::int32_t kShardVersion = 1;

// What the root attributes say; `image` and `samples` are the extents of `/images`.
struct ShardHeader {
  std::string split;
  std::int64_t index = 0;           // of the shards of the split
  std::string plan;                 // how the split was ingested: the same words in all its shards
  std::uint32_t plan_checksum = 0;  // CRC-32C of plan, class names, and names and labels planned for this shard
  std::int64_t classes = 0;
  ImageShape image;
  std::int64_t samples = 0;
  std::array<std::uint64_t, 3> channel_sum{}, channel_square_sum{};  // of all pixels, exact
};

// Writes a shard piece by piece, beside its final name until finish().
class ShardWriter {
 public:
  // `header` without the channel sums, which are found here. Names are at most `name_bytes` long.
  ShardWriter(const std::filesystem::path& path, const ShardHeader& header, std::size_t name_bytes);

  // `count` more samples: pixels [count, h, w, c].
  void append(const std::uint8_t* pixels, std::int64_t count);
  // Exactly header.samples labels and names; `skipped` are source indices of samples that were left out.
  void finish(std::span<const std::int32_t> labels, std::span<const std::string> names,
              std::span<const std::int64_t> skipped);

 private:
  void add_checksums(const std::uint8_t* pixels, std::int64_t count);

  AtomicFile atomic_;
  ShardHeader header_;
  std::size_t name_bytes_;
  std::vector<std::uint32_t> checksums_;
  Hdf5File file_;
  Hdf5Dataset images_;
};

// A shard opened for reading: everything but pixels and names is in memory.
class ShardFile {
 public:
  // A contiguous dataset as it lies in the file.
  struct Place {
    std::uint64_t offset = 0;
    std::uint64_t item_bytes = 0;
  };

  // Throws DataError naming the file if it is no shard, or damaged where that can be seen without reading pixels.
  explicit ShardFile(const std::filesystem::path& path);

  const ShardHeader& header() const { return header_; }
  std::int64_t bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  std::string file_name() const { return path_.filename().string(); }
  const std::vector<std::int32_t>& labels() const { return labels_; }
  const std::vector<std::uint32_t>& checksums() const { return checksums_; }
  const std::vector<std::int64_t>& skipped() const { return skipped_; }

  Place images_place() const { return images_place_; }
  Place names_place() const { return names_place_; }
  hid_t images() const { return images_; }
  hid_t names() const { return names_; }

  // Throws DataError with file and index unless `pixels` of sample `row` match its checksum. `name` is called
  // for the message only.
  template <class Name>
  void verify(std::int64_t row, std::span<const std::byte> pixels, Name&& name) const {
    if (!matches(row, pixels)) [[unlikely]]
      report_damage(row, name());
  }
  // From here on the file is read by other means; HDF5 lets go of it.
  void close_hdf5();

 private:
  bool matches(std::int64_t row, std::span<const std::byte> pixels) const;
  [[noreturn]] void report_damage(std::int64_t row, const std::string& name) const;
  void read_attributes();
  void open_datasets();

  std::filesystem::path path_;
  std::int64_t bytes_ = 0;
  Hdf5File file_;
  Hdf5Dataset images_, names_;
  ShardHeader header_;
  Place images_place_, names_place_;
  std::vector<std::int32_t> labels_;
  std::vector<std::uint32_t> checksums_;
  std::vector<std::int64_t> skipped_;
};

// A shard whose pixels and names are read through memory.
class MappedShard {
 public:
  explicit MappedShard(ShardFile file);
  const ShardFile& file() const { return file_; }
  std::span<const std::byte> pixels(std::int64_t row) const;
  std::string name(std::int64_t row) const;
  // The sample will be read soon, and storage may be slow.
  void will_need(std::int64_t row) const;
  // Compares every checksum; throws DataError at the first damage.
  void verify_all() const;
  const MappedFile& mapping() const { return mapping_; }

 private:
  ShardFile file_;
  MappedFile mapping_;
};

}  // namespace brigade::dataset
