/// Makes a dataset out of other people's files: parallel over ranks, restartable, the same bytes
/// whatever the number of ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "brigade/dataset/manifest.hpp"

namespace brigade::dataset {

/// One split as it is found in the outside world. Implementations: source_*.cpp.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::int64_t samples() const = 0;
  virtual ImageShape image() const = 0;
  virtual std::vector<std::string> classes() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;
  virtual std::string name(std::int64_t index) const = 0;
  /// Decodes sample `index` to [h, w, c]. Throws DataError if it cannot be decoded.
  virtual void read(std::int64_t index, std::uint8_t* pixels) const = 0;
};

struct SourceOptions {
  std::filesystem::path path;  ///< a directory
  /// "auto" looks at what is there: "idx" (train-images-idx3-ubyte[.gz], ...), "cifar" (data_batch_*.bin
  /// or train.bin), "folder" (class directories of JPEG and PNG; train/ and val/ or test/ above them if present).
  std::string format = "auto";
  std::int64_t image_size = 0;  ///< folder only: squash to this height and width; 0: as the first image is
};

/// The splits found ("train", "test", "val"), by name. Throws DataError or OptionError.
std::map<std::string, std::unique_ptr<Source>> open_sources(const SourceOptions& options);

struct BadSample {
  std::string split, name, why;
};

struct IngestOptions {
  std::filesystem::path directory;        ///< of the dataset, made if missing
  std::int64_t samples_per_shard = 8192;  ///< decides the number of shards, never the rank count
  std::uint64_t seed = 1;                 ///< of the order of samples over shards
  int rank = 0, size = 1;                 ///< this process's share: shards rank, rank + size, ...
  std::function<void(std::int64_t done, std::int64_t total)> progress;  ///< samples of this rank
};

struct IngestResult {
  std::int64_t written = 0;  ///< samples written by this rank now
  std::int64_t kept = 0;     ///< samples in verified shards of an earlier run
  std::vector<BadSample> bad;
};

/// Writes this rank's shards. A finished, intact shard is kept, not redone.
IngestResult ingest_shards(const std::map<std::string, std::unique_ptr<Source>>& sources, const IngestOptions& options);

/// After all ranks have finished ingest_shards: reads the shards' headers and writes manifest.json.
Manifest finish_ingest(const std::map<std::string, std::unique_ptr<Source>>& sources, const IngestOptions& options);

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
