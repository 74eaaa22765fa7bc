#include "shard_reader.hpp"

#include <algorithm>
#include <numeric>

#include "brigade/core/checksum.hpp"
#include "brigade/core/prefetch.hpp"

namespace brigade::dataset {
namespace {

// Only its beginning: it is not known how soon it will be used.
void prefetch(std::span<const std::byte> next) {
  constexpr std::size_t kMostBytes = 2048, kLineBytes = 64;
  for (std::size_t line = 0; line < std::min(next.size(), kMostBytes); line += kLineBytes)
    __builtin_prefetch(next.data() + line);
}

}  // namespace

// ---- SplitIndex ----

SplitIndex::SplitIndex(const std::vector<ShardFile>& files, const Manifest& manifest, Verify verify)
    : format_{.image = manifest.image, .layout = manifest.layout, .resize = manifest.resize}, verify_(verify) {
  std::int64_t bytes = 0;
  for (const auto& file : files) {
    ends_.push_back(samples() + file.header().samples);
    bytes += file.bytes();
  }
  sample_bytes_ = bytes / std::max<std::int64_t>(1, samples());
  seen_ = std::vector<std::atomic<bool>>(static_cast<std::size_t>(samples()));
}

Location SplitIndex::find(std::int64_t index) const {
  require(index >= 0 && index < samples(), "there is no sample {} (the split has {})", index, samples());
  const auto shard = static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), index) - ends_.begin());
  return {.shard = shard, .row = index - (shard == 0 ? 0 : ends_[shard - 1])};
}

// ---- ShardReader ----

void ShardReader::in_file_order(std::span<const std::int64_t> indices, StoredSamples& stored,
                                std::vector<Location>& places, std::vector<std::size_t>& order) const {
  stored.indices.assign(indices.begin(), indices.end());
  stored.bytes.resize(indices.size());
  stored.labels.resize(indices.size());
  places.clear();
  std::size_t total = 0;
  for (const std::int64_t index : indices) {
    places.push_back(index_->find(index));
    total += shard(places.back().shard).sample_bytes(places.back().row);
  }
  if (stored.memory.size() < total) stored.memory.resize(total);
  order.resize(indices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return indices[a] < indices[b]; });
}

std::string ShardReader::name(std::int64_t index) const { return name_of(index_->find(index)); }

void ShardReader::verify(std::int64_t index, std::span<const std::byte> bytes, std::span<const std::byte> next) {
  if (index_->unverified(index))
    compare(index, crc32c(bytes, 0, next));
  else
    prefetch(next);
}

void ShardReader::copy_verified(std::int64_t index, std::span<const std::byte> bytes, std::span<const std::byte> next,
                                std::byte* target) {
  if (index_->unverified(index))
    compare(index, copy_and_crc32c({target, bytes.size()}, bytes, 0, next));
  else
    copy_ahead({target, bytes.size()}, bytes, next);
}

void ShardReader::compare(std::int64_t index, std::uint32_t checksum) {
  const Location place = index_->find(index);
  shard(place.shard).compare(place.row, checksum, [&] { return name_of(place); });
  index_->mark(index);
}

std::string ShardReader::place(std::int64_t index) const {
  const Location at = index_->find(index);
  return shard(at.shard).place(at.row, name_of(at));
}

}  // namespace brigade::dataset
