// One shard: an HDF5 file with `/images` uint8 [n, h, w, c] (layout raw) or `/encoded` uint8 [bytes] and `/offsets`
// uint64 [n + 1] (layout encoded), `/labels` int32 [n], `/checksums` uint32 [n], `/names` fixed-length strings [n] and
// `/skipped` int64 [k] (docs/formats.md).
//
// The datasets are contiguous, so that a reader may map them, and large ones begin on page boundaries; only `/images`
// may be in chunks that deflate has compressed. Object times are switched off, so that equal contents are equal bytes.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/checksum.hpp"
#include "brigade/dataset/manifest.hpp"
#include "hdf5.hpp"
#include "mapped_file.hpp"
#include "spool.hpp"

namespace brigade::dataset {

inline constexpr std::int32_t kShardVersion = 2;

// Exact sums over all pixels p of each channel: of p, and of p * p.
struct ChannelSums {
  std::array<std::uint64_t, 3> sum{}, squares{};
  ChannelSums& operator+=(const ChannelSums& other);
};
ChannelSums channel_sums(std::span<const std::uint8_t> pixels, std::int64_t channels);  // [.., channels]

// What the root attributes say; of a raw shard, `image` and `samples` are the extents of `/images`.
struct ShardHeader {
  Layout layout = Layout::raw;
  std::string split;
  std::int64_t index = 0;           // of the shards of the split
  std::string plan;                 // how the split was ingested: the same words in all its shards
  std::uint32_t plan_checksum = 0;  // CRC-32C of plan, class names, and names and labels planned for this shard
  std::int64_t classes = 0;
  ImageShape image;
  std::int64_t samples = 0;
  ChannelSums sums;  // over the pixels of all samples
};

// What is known of a sample beside its bytes.
struct StoredSample {
  std::uint64_t bytes = 0;     // as stored: pixels, or an image file
  std::uint32_t checksum = 0;  // of these bytes
  ChannelSums sums;            // of its pixels
};

// Writes a shard piece by piece, beside its final name until finish(). The size of an encoded shard is not known
// before its last image is: its blob waits in a spool, because HDF5 cannot shorten a contiguous dataset.
class ShardWriter {
 public:
  // `header` without the channel sums, which are found here. Names are at most `name_bytes` long. `deflate`: 0 for
  // contiguous images, or the level at which they are compressed in chunks.
  ShardWriter(const std::filesystem::path& path, const ShardHeader& header, std::size_t name_bytes, int deflate = 0);

  // More samples, and their stored bytes one after another.
  void append(std::span<const std::uint8_t> bytes, std::span<const StoredSample> samples);
  // Exactly header.samples labels and names; `skipped` are source indices of samples that were left out.
  void finish(std::span<const std::int32_t> labels, std::span<const std::string> names,
              std::span<const std::int64_t> skipped);

 private:
  void write_pixels(std::span<const std::uint8_t> pixels, std::int64_t first, std::int64_t count);
  void write_blob();
  void write_attributes();

  AtomicFile atomic_;
  ShardHeader header_;
  std::size_t name_bytes_;
  std::vector<std::uint32_t> checksums_;
  std::vector<std::uint64_t> offsets_{0};  // encoded only
  Hdf5File file_;
  Hdf5Dataset images_;          // raw only
  std::optional<Spool> spool_;  // encoded only
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

  // False: images are in chunks, and only HDF5 can read them.
  bool mappable() const { return mappable_; }
  // Where sample `row` lies in the file, if it is mappable.
  std::uint64_t sample_offset(std::int64_t row) const { return images_place_.offset + offset_in_blob(row); }
  std::uint64_t sample_bytes(std::int64_t row) const { return offset_in_blob(row + 1) - offset_in_blob(row); }

  Place images_place() const { return images_place_; }  // of `/images` or `/encoded`
  Place names_place() const { return names_place_; }
  // Reads the stored bytes of samples first, first + 1, ... (pixels, or image files one after another) through HDF5.
  void read_rows(std::int64_t first, std::int64_t count, std::uint8_t* bytes) const;
  std::string read_name(std::int64_t row) const;

  // Throws DataError with file and index unless the stored bytes of sample `row` match its checksum. `name` is called
  // for the message only.
  template <class Name>
  void verify(std::int64_t row, std::span<const std::byte> bytes, Name&& name) const {
    compare(row, crc32c(bytes), std::forward<Name>(name));
  }
  // The same, of bytes whose CRC-32C is `checksum`.
  template <class Name>
  void compare(std::int64_t row, std::uint32_t checksum, Name&& name) const {
    if (checksum != checksums_[static_cast<std::size_t>(row)]) [[unlikely]]
      report_damage(row, name());
  }
  // "shard FILE: sample ROW (NAME)", for messages.
  std::string place(std::int64_t row, const std::string& name) const;
  // From here on the file is read by other means; HDF5 lets go of it.
  void close_hdf5();

 private:
  [[noreturn]] void report_damage(std::int64_t row, const std::string& name) const;
  std::uint64_t offset_in_blob(std::int64_t row) const {
    const auto place = static_cast<std::uint64_t>(row);
    return header_.layout == Layout::raw ? place * images_place_.item_bytes : offsets_[place];
  }
  void read_attributes();
  void open_datasets();
  void open_images();
  void open_blob();
  void open_names();
  void set_image(const std::array<std::uint64_t, 3>& extents);

  std::filesystem::path path_;
  std::int64_t bytes_ = 0;
  Hdf5File file_;
  Hdf5Dataset images_, names_;
  Hdf5Space images_space_;
  ShardHeader header_;
  bool mappable_ = true;
  Place images_place_, names_place_;
  std::vector<std::uint64_t> offsets_;  // encoded only: n + 1 places in the blob
  std::vector<std::int32_t> labels_;
  std::vector<std::uint32_t> checksums_;
  std::vector<std::int64_t> skipped_;
};

// A shard whose names, and samples if it is mappable, are read through memory: a mapping, or a copy. Threads may share
// it.
class MappedShard {
 public:
  explicit MappedShard(ShardFile file);
  // `bytes`: of the file, in memory that outlives this object.
  MappedShard(ShardFile file, std::span<const std::byte> bytes);
  const ShardFile& file() const { return file_; }
  // The stored bytes of sample `row`: in the mapping, or read into `scratch`.
  std::span<const std::byte> sample(std::int64_t row, std::vector<std::uint8_t>& scratch) const;
  std::string name(std::int64_t row) const;
  // The sample will be read soon, and storage may be slow.
  void will_need(std::int64_t row, std::int64_t rows = 1) const;
  // Compares every checksum; throws DataError at the first damage.
  void verify_all() const;
  const MappedFile& mapping() const { return mapping_; }

 private:
  ShardFile file_;
  MappedFile mapping_;
  std::span<const std::byte> bytes_;
};

}  // namespace brigade::dataset
