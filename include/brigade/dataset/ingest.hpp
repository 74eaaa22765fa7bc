/// Makes a dataset out of other people's files: parallel over ranks and threads, restartable, the same bytes
/// whatever the number of either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "brigade/dataset/manifest.hpp"

namespace brigade::dataset {

/// One split as it is found in the outside world. Implementations: source_*.cpp. Any number of threads may call the
/// same object at once.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::int64_t samples() const = 0;
  virtual std::vector<std::string> classes() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;
  virtual std::string name(std::int64_t index) const = 0;
  /// The shape of all samples if they are pixels; nothing if they are JPEG or PNG files of any size.
  virtual std::optional<ImageShape> pixels() const { return std::nullopt; }
  /// 1 if all samples are grey, else 3.
  virtual std::int64_t channels() const { return pixels() ? pixels()->channels : 3; }
  /// Replaces `bytes` by sample `index`: an image file, or pixels [h, w, c]. Throws DataError if this sample cannot be
  /// had (others may); any other error ends the ingest.
  virtual void fetch(std::int64_t index, std::vector<std::byte>& bytes) const = 0;
};

/// The splits of a collection ("train", "test", "val"), by name.
using Sources = std::map<std::string, std::shared_ptr<const Source>>;

struct SourceOptions {
  std::filesystem::path path;  ///< a directory, or the one file that the format consists of
  /// One of source_formats(), or "auto": the first that recognises what is there.
  std::string format = "auto";
  std::vector<std::string> classes;     ///< only these, in this order; empty: all
  std::int64_t limit_per_class = 0;     ///< in each split that is found; 0: no limit
  std::map<std::string, double> split;  ///< name -> share of 1; cuts a source without splits; empty: leave it
  std::uint64_t seed = 1;               ///< of the choices that `limit_per_class` and `split` make
};

/// The formats that can be read, with a line of help for each.
std::vector<std::pair<std::string, std::string>> source_formats();

/// The splits found. Throws DataError or OptionError.
Sources open_sources(const SourceOptions& options);

struct BadSample {
  std::string split, name, why;
};

/// What ranks that ingest together count in memory they share, all zero at first.
struct IngestCounts {
  std::int64_t claimed = 0;  ///< shards that a rank has taken
  std::int64_t done = 0;     ///< samples written or verified
};

struct IngestOptions {
  std::filesystem::path directory;  ///< of the dataset, made if missing
  /// Files a split is cut into. 0: by `samples_per_shard`; if that is 0, too: about 128 MiB each, and up to 16 small
  /// ones, so that several ranks have work. Never by the rank count.
  std::int64_t shards = 0;
  std::int64_t samples_per_shard = 0;
  std::uint64_t seed = 1;  ///< of the order of samples over shards
  Layout layout = Layout::raw;
  int deflate = 0;              ///< raw only: 1 (fast) to 9 (small) compresses in chunks; 0: contiguous
  int quality = 0;              ///< encoded only: 1 to 100 resizes and encodes as JPEG; 0: files are kept as they are
  std::int64_t image_size = 0;  ///< height and width in pixels; 0: as the first image is
  Resize resize = Resize::squash;
  int threads = 1;         ///< of this process, that decode and encode
  int rank = 0, size = 1;  ///< this process's share: shards rank, rank + size, ...
  /// If all `size` processes share it: whoever is free takes the next shard instead, and progress is that of all.
  IngestCounts* together = nullptr;
  std::function<void(std::int64_t done, std::int64_t total)> progress;  ///< samples of this rank, or see `together`
};

struct IngestResult {
  std::int64_t written = 0;  ///< samples written by this rank now
  std::int64_t kept = 0;     ///< samples in verified shards of an earlier run
  std::vector<BadSample> bad;
};

/// Writes this rank's shards. A finished, intact shard is kept, not redone. What is in memory at a time does not grow
/// with the samples' bytes, only with their number (names and labels).
IngestResult ingest_shards(const Sources& sources, const IngestOptions& options);

/// After all ranks have finished ingest_shards: reads the shards' headers and writes manifest.json.
Manifest finish_ingest(const Sources& sources, const IngestOptions& options);

/// What `brigade inspect` reports of one shard.
struct ShardReport {
  std::string split;
  ShardInfo info;
  std::vector<std::int64_t> class_counts;
};

/// Reads every byte of this rank's shards (rank, rank + size, ... over all splits) and compares every
/// checksum. Throws DataError naming file and index at the first damage.
std::vector<ShardReport> verify_shards(const std::filesystem::path& directory, const Manifest& manifest, int rank,
                                       int size);

}  // namespace brigade::dataset
