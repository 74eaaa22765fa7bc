// Readers `mmap`, `preload` and `stage`: a sample is where it lies in memory. While pages come from storage, the kernel
// is asked for all samples of a batch before the first is waited for, so that storage sees a deep queue.
#include <sys/resource.h>

#include <algorithm>

#include "shard_reader.hpp"

namespace brigade::dataset {
namespace {

using Shards = std::vector<MappedShard>;

class MappedReader final : public ShardReader {
 public:
  MappedReader(std::shared_ptr<const Shards> shards, std::shared_ptr<SplitIndex> index, std::int64_t read_ahead)
      : ShardReader(std::move(index)), read_ahead_(read_ahead), shards_(std::move(shards)) {}

  void fetch(std::span<const std::int64_t> indices, StoredSamples& stored) override {
    stored.indices.assign(indices.begin(), indices.end());
    stored.bytes.resize(indices.size());
    stored.labels.resize(indices.size());
    const long faults = major_faults();
    asking_ = faults != faults_ ? kPatience : std::max(0, asking_ - 1);
    faults_ = faults;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto [shard, row] = index().find(indices[i]);
      const MappedShard& source = (*shards_)[shard];
      if (asking_ > 0) ask_for(source, row);
      stored.bytes[i] = source.sample(row, scratch_);
      stored.labels[i] = source.file().labels()[static_cast<std::size_t>(row)];
    }
  }

 private:
  const ShardFile& shard(std::size_t shard) const override { return (*shards_)[shard].file(); }
  std::string name_of(Location place) const override { return (*shards_)[place.shard].name(place.row); }

  // The neighbours with which it will be used, too.
  void ask_for(const MappedShard& shard, std::int64_t row) const {
    const std::int64_t first = row / read_ahead_ * read_ahead_;
    shard.will_need(first, std::min(read_ahead_, shard.file().header().samples - first));
  }

  // How often this thread has waited for storage.
  static long major_faults() {
    rusage usage{};
    return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_majflt : 0;
  }

  // The kernel is asked (1 us a sample) until this many batches in a row have come out of memory alone.
  static constexpr int kPatience = 32;
  const std::int64_t read_ahead_;
  int asking_ = kPatience;
  long faults_ = 0;
  std::shared_ptr<const Shards> shards_;
  std::vector<std::uint8_t> scratch_;  // unused: every shard here is mappable
};

}  // namespace

ReaderMaker read_through_map(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index,
                             std::int64_t read_ahead_samples) {
  const auto shards = std::make_shared<Shards>();
  for (auto& file : files) shards->emplace_back(std::move(file)).mapping().random();
  return read_from_memory(shards, std::move(index), read_ahead_samples);
}

ReaderMaker read_from_memory(std::shared_ptr<const Shards> shards, std::shared_ptr<SplitIndex> index,
                             std::int64_t read_ahead_samples) {
  return
      [shards, index, read_ahead_samples] { return std::make_unique<MappedReader>(shards, index, read_ahead_samples); };
}

}  // namespace brigade::dataset
