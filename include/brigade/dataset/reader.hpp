/// Random access to the samples of one split.
///
/// A SplitFiles is opened once by each process, by all ranks together; each thread that reads gets a SplitReader of its
/// own from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "brigade/core/team.hpp"
#include "brigade/dataset/manifest.hpp"

namespace brigade::dataset {

enum class ReaderMode : std::uint8_t {
  automatic,    ///< chosen from the file system, the layout and the free memory; see SplitFiles::why()
  mmap,         ///< memory map of the shards, which must be contiguous
  independent,  ///< H5Dread by each rank
  collective,   ///< H5Dread by all ranks together, over MPI-IO
  preload,      ///< the shards are copied into memory that the ranks of a node share
  stage,        ///< the shards are copied to storage of the node, then mapped
};

/// "auto", "mmap", "independent", "collective", "preload", "stage"
std::string_view name_of(ReaderMode mode);

enum class Verify : std::uint8_t {
  always,  ///< every sample, every time
  first,   ///< every sample when it is first read
  never,
};

struct ReaderOptions {
  ReaderMode mode = ReaderMode::automatic;
  Verify verify = Verify::first;
  std::filesystem::path stage_directory{};         ///< on storage of the node; empty: $TMPDIR, else /tmp
  std::map<std::string, std::string> mpi_hints{};  ///< `collective`: of MPI-IO, as MPI_Info_set takes them
  /// Aligned groups of so many neighbours are read soon after one another (block shuffle): storage is asked for all.
  std::int64_t read_ahead_samples = 1;
};

/// What the bytes of a stored sample are.
struct SampleFormat {
  ImageShape image;
  Layout layout = Layout::raw;
  Resize resize = Resize::squash;  ///< encoded only: how images are brought to `image`
};

/// Samples of a batch as they are stored.
struct StoredSamples {
  std::vector<std::int64_t> indices;              ///< in the split
  std::vector<std::span<const std::byte>> bytes;  ///< of each: pixels [h, w, c], or an image file
  std::vector<std::int32_t> labels;
  std::vector<std::byte> memory;  ///< where `bytes` are, unless they are the reader's own
};

/// Where the time of reading went, and what came of it.
struct ReadWork {
  double read_s = 0;              ///< fetching, comparing checksums and, of pixels, copying to a batch of pixels
  double decode_s = 0;            ///< turning image files into pixels
  std::int64_t stored_bytes = 0;  ///< as stored, of all samples read
};

/// What became of the reads of a collective reader.
struct CollectiveReads {
  std::int64_t calls = 0;       ///< of H5Dread
  std::int64_t collective = 0;  ///< of them, those that HDF5 did collectively indeed (H5Pget_mpio_actual_io_mode)
};

/// Not thread-safe, but for take(): one reader per thread.
class SplitReader {
 public:
  virtual ~SplitReader() = default;
  virtual std::int64_t samples() const = 0;
  virtual const SampleFormat& format() const = 0;
  const ImageShape& image() const { return format().image; }
  /// Where sample `index` came from (its source file, or "archive#number").
  virtual std::string name(std::int64_t index) const = 0;
  /// Where it lies now, for messages: shard, row and name.
  virtual std::string place(std::int64_t index) const = 0;
  /// Whether fetch() must be called by all ranks of the job equally often (if need be with no indices), on the thread
  /// that speaks to the other ranks.
  virtual bool collective() const { return false; }
  virtual CollectiveReads collective_reads() const { return {}; }

  /// Brings the samples `indices` (each in [0, samples()), else DataError) within reach: bytes and labels are valid
  /// until `stored` is used again, and as long as the reader. Nothing is verified yet.
  virtual void fetch(std::span<const std::int64_t> indices, StoredSamples& stored) = 0;
  /// The bytes of sample i of a fetched batch, after comparing them with their checksum as the options say. Throws
  /// DataError naming file and index.
  std::span<const std::byte> take(const StoredSamples& stored, std::size_t i);
  /// All of it: pixels [n, h, w, c], decoded if need be, and labels [n].
  void read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels);
  /// Of read() so far; not of fetch() alone.
  const ReadWork& work() const { return work_; }

 protected:
  /// Throws DataError if `bytes`, of sample `index`, are to be compared and have another checksum. `next` are those
  /// that will be read then, or none: they may be brought nearer meanwhile.
  virtual void verify(std::int64_t index, std::span<const std::byte> bytes, std::span<const std::byte> next) = 0;
  /// Also copies them, to `target`.
  virtual void copy_verified(std::int64_t index, std::span<const std::byte> bytes, std::span<const std::byte> next,
                             std::byte* target);

 private:
  StoredSamples stored_;  // of read()
  ReadWork work_;
};

class SplitFiles {
 public:
  /// Opens all shards of a split and compares them with the manifest: version, counts, shapes, sizes, labels in range.
  /// Throws DataError that names the shard, on all ranks of `job` alike. Collective over `job`; `node` are those of its
  /// ranks that share memory. Both must outlive this object and its readers.
  SplitFiles(const std::filesystem::path& directory, const Manifest& manifest, const std::string& split,
             const ReaderOptions& options = {}, Team& job = alone(), Team& node = alone());
  ~SplitFiles();
  SplitFiles(SplitFiles&&) noexcept;
  SplitFiles& operator=(SplitFiles&&) noexcept;

  /// May outlive this object.
  std::unique_ptr<SplitReader> reader() const;
  std::int64_t samples() const;
  /// What is done: never `automatic`.
  ReaderMode mode() const;
  /// Why, and what it took to prepare, in words for a log; empty if there is nothing to say.
  const std::string& why() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// One reader, of one process alone.
std::unique_ptr<SplitReader> open_split(const std::filesystem::path& directory, const Manifest& manifest,
                                        const std::string& split, const ReaderOptions& options = {});

}  // namespace brigade::dataset
