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

/// What the shards hold of an image.
enum class Layout : std::uint8_t {
  raw,      ///< pixels, all images of one shape
  encoded,  ///< JPEG or PNG files, decoded and brought to Manifest::image when they are read
};

/// How an image gets another height and width: antialiased by a triangle filter, as Pillow's BILINEAR.
enum class Resize : std::uint8_t {
  squash,        ///< both sides are scaled, each as it needs
  shorter_crop,  ///< scaled until it covers the new shape, and what sticks out on two sides is cut off
  pad,           ///< scaled until it fits into the new shape, and black is put on two sides
};

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
  Resize resize = Resize::squash;  ///< encoded only: how images are brought to `image`
  /// Per channel, of pixels scaled to [0, 1], over the split "train".
  std::array<float, 3> mean{}, stddev{1, 1, 1};
  std::map<std::string, SplitInfo> splits;

  const SplitInfo& split(const std::string& name) const;  ///< throws OptionError, listing what there is
};

/// Reads and checks `directory`/manifest.json. Throws DataError.
Manifest read_manifest(const std::filesystem::path& directory);
void write_manifest(const std::filesystem::path& directory, const Manifest& manifest);

}  // namespace brigade::dataset
