// What the readers of shards share: which shard a sample is in, and which samples were seen.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "brigade/dataset/reader.hpp"
#include "brigade/dataset/sampling.hpp"
#include "shard.hpp"

namespace brigade::dataset {

// Where a sample lies.
struct Location {
  std::size_t shard;
  std::int64_t row;
};

// The samples of all shards in one row. Shared by the readers of a process.
class SplitIndex {
 public:
  SplitIndex(const std::vector<ShardFile>& files, const Manifest& manifest, Verify verify);
  std::int64_t samples() const { return ends_.empty() ? 0 : ends_.back(); }
  // Calls use(shard, first row, rows) for each part of a range of samples.
  template <class Use>
  void for_each_part(Range range, Use&& use) const {
    while (range.begin < range.end) {
      const Location at = find(range.begin);
      const std::int64_t count = std::min(range.end, ends_[at.shard]) - range.begin;
      use(at.shard, at.row, count);
      range.begin += count;
    }
  }
  const SampleFormat& format() const { return format_; }
  Location find(std::int64_t index) const;  // throws DataError

  // About as much as a sample takes in a file.
  std::int64_t sample_bytes() const { return sample_bytes_; }

  // Whether the sample is to be verified now; after it has been, mark() it.
  bool unverified(std::int64_t index) const {
    return verify_ == Verify::always ||
           (verify_ == Verify::first && !seen_[static_cast<std::size_t>(index)].load(std::memory_order_relaxed));
  }
  void mark(std::int64_t index) { seen_[static_cast<std::size_t>(index)].store(true, std::memory_order_relaxed); }
  void verified_all() { verify_ = verify_ == Verify::first ? Verify::never : verify_; }

 private:
  SampleFormat format_;
  Verify verify_;
  std::int64_t sample_bytes_ = 0;
  std::vector<std::int64_t> ends_;
  std::vector<std::atomic<bool>> seen_;
};

class ShardReader : public SplitReader {
 public:
  explicit ShardReader(std::shared_ptr<SplitIndex> index) : index_(std::move(index)) {}
  std::int64_t samples() const override { return index_->samples(); }
  const SampleFormat& format() const override { return index_->format(); }
  std::string name(std::int64_t index) const override;
  std::string place(std::int64_t index) const override;

 protected:
  void verify(std::int64_t index, std::span<const std::byte> bytes, std::span<const std::byte> next) override;
  void copy_verified(std::int64_t index, std::span<const std::byte> bytes, std::span<const std::byte> next,
                     std::byte* target) override;
  virtual const ShardFile& shard(std::size_t shard) const = 0;
  virtual std::string name_of(Location place) const = 0;
  const SplitIndex& index() const { return *index_; }
  // For readers that copy: where each sample is, the order in which files are read from front to back, and room for
  // all.
  void in_file_order(std::span<const std::int64_t> indices, StoredSamples& stored, std::vector<Location>& places,
                     std::vector<std::size_t>& order) const;

 private:
  void compare(std::int64_t index, std::uint32_t checksum);
  std::shared_ptr<SplitIndex> index_;
};

// What a mode gives to SplitFiles: makes a reader for a thread.
using ReaderMaker = std::function<std::unique_ptr<SplitReader>()>;

// Copies of the shards, in memory or in another directory; how many bytes, and how long it took.
struct Prepared {
  std::int64_t bytes = 0, copied_bytes = 0;
  double seconds = 0;
};

// One file each. `files` are open, and the same on all ranks; what has a `job` is collective over it.
ReaderMaker read_through_map(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index,
                             std::int64_t read_ahead_samples);
ReaderMaker read_from_memory(std::shared_ptr<const std::vector<MappedShard>> shards, std::shared_ptr<SplitIndex> index,
                             std::int64_t read_ahead_samples);
ReaderMaker read_independently(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index,
                               std::int64_t read_ahead_samples);
ReaderMaker read_collectively(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index,
                              const std::map<std::string, std::string>& hints, Team& job);
ReaderMaker read_preloaded(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index, Verify verify, Team& job,
                           Team& node, Prepared& prepared);
// Copies shards of `from`; the copies are in the directory it returns.
std::filesystem::path stage_shards(const std::filesystem::path& from, const SplitInfo& split,
                                   const std::filesystem::path& stage_directory, Team& job, Team& node,
                                   Prepared& prepared);

}  // namespace brigade::dataset
