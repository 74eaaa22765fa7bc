// Readers `mmap`, `preload` and `stage`: a sample is where it lies in memory. While pages come from storage, the kernel
// is asked for all samples of a batch before the first is waited for, so that storage sees a deep queue. A batch that
// lies in the file in one piece is left to the kernel's own reading ahead, which goes beyond the batch.
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
    places_.clear();
    for (const std::int64_t i : indices) places_.push_back(index().find(i));
    const bool slow = storage_is_slow();
    if (slow) ask();
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto [shard, row] = places_[i];
      const MappedShard& source = (*shards_)[shard];
      stored.bytes[i] = source.sample(row, scratch_);
      stored.labels[i] = source.file().labels()[static_cast<std::size_t>(row)];
    }
  }

 private:
  const ShardFile& shard(std::size_t shard) const override { return (*shards_)[shard].file(); }
  std::string name_of(Location place) const override { return (*shards_)[place.shard].name(place.row); }

  // Asking takes 1 us a sample, as long as copying it: it ends when a batch is found to be in memory, and begins again
  // when this thread has waited for storage. What has been asked for is never seen to be waited for, so that from time
  // to time a batch is looked up.
  bool storage_is_slow() {
    const long faults = major_faults();
    if (faults_ >= 0 && faults != faults_) asking_ = kPatience;
    faults_ = faults;
    if (asking_ == 0) return false;
    if (--asking_ > 0) return true;
    const bool resident =
        std::all_of(places_.begin(), places_.end(), [&](Location at) { return (*shards_)[at.shard].resident(at.row); });
    asking_ = resident ? 0 : kPatience;
    return !resident;
  }

  void ask() {
    if (sequential_.empty()) sequential_.resize(shards_->size());
    const bool one_piece = in_one_piece();
    for (const auto& [shard, row] : places_) {
      const MappedShard& source = (*shards_)[shard];
      if (sequential_[shard] != one_piece) one_piece ? source.mapping().sequential() : source.mapping().random();
      sequential_[shard] = one_piece;
      if (!one_piece) ask_for(source, row);
    }
  }

  bool in_one_piece() const {
    const auto apart = [](Location a, Location b) {
      return a.shard == b.shard ? a.row + 1 != b.row : a.shard + 1 != b.shard || b.row != 0;
    };
    return places_.size() > 1 && std::adjacent_find(places_.begin(), places_.end(), apart) == places_.end();
  }

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

  static constexpr int kPatience = 32;  // batches
  const std::int64_t read_ahead_;
  int asking_ = 1;    // batches until one is looked up; 0: all is thought to be in memory
  long faults_ = -1;  // of this thread so far
  std::vector<Location> places_;
  std::vector<bool> sequential_;  // shards whose mapping is read ahead by the kernel
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
