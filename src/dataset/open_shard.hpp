// A shard as the manifest names it.
#pragma once

#include "brigade/dataset/manifest.hpp"
#include "shard.hpp"

namespace brigade::dataset {

// Opens the shard and compares it with what the manifest says of it, before a pixel is read. Throws DataError.
ShardFile open_shard(const std::filesystem::path& directory, const Manifest& manifest, const std::string& split,
                     const ShardInfo& info);

}  // namespace brigade::dataset
