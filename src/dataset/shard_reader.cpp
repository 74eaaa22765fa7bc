#include "shard_reader.hpp"

#include <algorithm>

namespace brigade::dataset {

// ---- SplitIndex ----

SplitIndex::SplitIndex(const std::vector<ShardFile>& files, const Manifest& manifest, Verify verify)
    : format_{.image = manifest.image, .layout = manifest.layout, .resize = manifest.resize}, verify_(verify) {
  for (const auto& file : files) ends_.push_back(samples() + file.header().samples);
  seen_ = std::vector<std::atomic<bool>>(static_cast<std::size_t>(samples()));
}

Location SplitIndex::find(std::int64_t index) const {
  require(index >= 0 && index < samples(), "there is no sample {} (the split has {})", index, samples());
  const auto shard = static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), index) - ends_.begin());
  return {.shard = shard, .row = index - (shard == 0 ? 0 : ends_[shard - 1])};
}

// ---- ShardReader ----

std::string ShardReader::name(std::int64_t index) const { return name_of(index_->find(index)); }

void ShardReader::verify(std::int64_t index, std::span<const std::byte> bytes) {
  if (!index_->unverified(index)) return;
  const Location place = index_->find(index);
  shard(place.shard).verify(place.row, bytes, [&] { return name_of(place); });
  index_->mark(index);
}

std::string ShardReader::place(std::int64_t index) const {
  const Location at = index_->find(index);
  return shard(at.shard).place(at.row, name_of(at));
}

}  // namespace brigade::dataset
