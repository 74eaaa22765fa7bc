#include "open_shard.hpp"

#include <system_error>

namespace brigade::dataset {

ShardFile open_shard(const std::filesystem::path& directory, const Manifest& manifest, const std::string& split,
                     const ShardInfo& info) {
  const auto path = directory / info.file;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  require(!error, "shard {} of split '{}' is missing ({}). Run `brigade shard` again?", path.string(), split,
          error.message());
  require(bytes >= static_cast<std::uintmax_t>(info.bytes),
          "shard {} is truncated (expected {} bytes, the file holds {}). Run `brigade shard` again?", path.string(),
          info.bytes, bytes);
  ShardFile file(path);
  const auto& header = file.header();
  const auto& image = header.image;
  require(header.layout == manifest.layout,
          "shard {} has another layout than the manifest says (raw or encoded). Is it from another dataset?",
          path.string());
  require(image == manifest.image,
          "shard {} holds images of {}x{}x{} (the manifest says {}x{}x{}). Is it from another dataset?", path.string(),
          image.height, image.width, image.channels, manifest.image.height, manifest.image.width,
          manifest.image.channels);
  require(header.samples == info.samples,
          "shard {} holds {} samples (the manifest says {}). Is it from another dataset?", path.string(),
          header.samples, info.samples);
  require(header.split == split, "shard {} belongs to split '{}' (the manifest says '{}')", path.string(), header.split,
          split);
  const auto classes = static_cast<std::int64_t>(manifest.classes.size());
  require(header.classes == classes, "shard {} has {} classes (the manifest says {}). Is it from another dataset?",
          path.string(), header.classes, classes);
  require(bytes == static_cast<std::uintmax_t>(info.bytes), "shard {} has {} bytes (the manifest says {})",
          path.string(), bytes, info.bytes);
  return file;
}

}  // namespace brigade::dataset
