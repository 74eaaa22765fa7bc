// Readers `mmap`, `preload` and `stage`: a sample is where it lies in memory. While pages come from storage, the kernel
// is asked for all samples of a batch, and for the batches to come where they can be foreseen, before the first is
// waited for, so that storage sees a deep queue.
#include "read_ahead.hpp"
#include "shard_reader.hpp"

namespace brigade::dataset {
namespace {

using Shards = std::vector<MappedShard>;

class MappedReader final : public ShardReader {
 public:
  MappedReader(std::shared_ptr<const Shards> shards, std::shared_ptr<SplitIndex> split, std::int64_t read_ahead)
      : ShardReader(std::move(split)),
        read_ahead_(index().samples(), read_ahead, index().sample_bytes()),
        shards_(std::move(shards)) {}

  void fetch(std::span<const std::int64_t> indices, StoredSamples& stored) override {
    stored.indices.assign(indices.begin(), indices.end());
    stored.bytes.resize(indices.size());
    stored.labels.resize(indices.size());
    for (const Range range : read_ahead_.before(indices, storage_reads_of_this_thread()))
      index().for_each_part(range, [&](std::size_t shard, std::int64_t row, std::int64_t rows) {
        (*shards_)[shard].will_need(row, rows);
      });
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto [shard, row] = index().find(indices[i]);
      const MappedShard& source = (*shards_)[shard];
      stored.bytes[i] = source.sample(row, scratch_);
      stored.labels[i] = source.file().labels()[static_cast<std::size_t>(row)];
    }
  }

 private:
  const ShardFile& shard(std::size_t shard) const override { return (*shards_)[shard].file(); }
  std::string name_of(Location place) const override { return (*shards_)[place.shard].name(place.row); }

  ReadAhead read_ahead_;
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
