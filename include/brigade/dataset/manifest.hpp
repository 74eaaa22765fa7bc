/// A dataset on storage: a directory with manifest.json and HDF5 shards (format in docs/formats.md).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace brigade::dataset {

struct ImageShape {
  std::int64_t height = 0, width = 0, channels = 0;
  std::int64_t size() const { return height * width * channels; }
  bool operator==(const ImageShape&) const = default;
};

enum class Layout : std::uint8_t { raw };

struct ShardInfo {
  std::string file;  ///< name within the directory
  std::int64_t samples = 0;
  std::int64_t bytes = 0;  ///< of the file
};

struct SplitInfo {
  std::vector<ShardInfo> shards;
  std::int64_t samples() const;
};

struct Manifest {
  static constexpr int kVersion = 1;
  std::vector<std::string> classes;
  ImageShape image;
  Layout layout = Layout::raw;
  /// Per channel, of pixels scaled to [0, 1], over the split "train".
  std::array<float, 3> mean{}, stddev{1, 1, 1};
  std::map<std::string, SplitInfo> splits;

  const SplitInfo& split(const std::string& name) const;  ///< throws OptionError, listing what there is
};

/// Reads and checks `directory`/manifest.json. Throws DataError.
Manifest read_manifest(const std::filesystem::path& directory);
void write_manifest(const std::filesystem::path& directory, const Manifest& manifest);

}  // namespace brigade::dataset
