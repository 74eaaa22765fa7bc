// What the readers of shards share: which shard a sample is in, and which samples were seen.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "brigade/dataset/reader.hpp"
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
  const SampleFormat& format() const { return format_; }
  Location find(std::int64_t index) const;  // throws DataError

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
  void verify(std::int64_t index, std::span<const std::byte> bytes) override;
  virtual const ShardFile& shard(std::size_t shard) const = 0;
  virtual std::string name_of(Location place) const = 0;
  const SplitIndex& index() const { return *index_; }

 private:
  std::shared_ptr<SplitIndex> index_;
};

// What a mode gives to SplitFiles: makes a reader for a thread.
using ReaderMaker = std::function<std::unique_ptr<SplitReader>()>;

// One file each. `files` are open, and the same on all ranks.
ReaderMaker read_through_map(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index);
ReaderMaker read_independently(std::vector<ShardFile> files, std::shared_ptr<SplitIndex> index);

}  // namespace brigade::dataset
