// What storage is to be asked for before it is waited for.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "brigade/dataset/sampling.hpp"

namespace brigade::dataset {

// Batches of a rank that walk through a split from front to back, by steps of equal length: over all of it, or over a
// rank's part of each global batch.
class Walk {
 public:
  // `batch` are neighbours that are read now. Appends to `soon` the batches that will be read next, if the last two
  // steps were alike: each once, and as many as hold `most` samples.
  void step(Range batch, std::int64_t most, std::vector<Range>& soon);
  // Whether the batch was among those.
  bool foreseen(Range batch) const { return step_ > 0 && batch.begin == last_ + step_ && batch.end <= known_; }

 private:
  std::int64_t last_ = -1, step_ = 0;  // where the last batch began, and how far from the one before
  std::int64_t known_ = 0;             // end of the last batch that was appended
};

// Decides for one reading thread which samples to ask for. Asking for what is in memory takes a third of the time of
// copying it, so that it is done only while the thread makes storage read: for the first batch, and for `kPatience`
// more after each that did.
class ReadAhead {
 public:
  // Aligned groups of `group` samples are read soon after one another (block shuffle): all of a group is asked for.
  // `sample_bytes`: about as much as one takes.
  ReadAhead(std::int64_t samples, std::int64_t group, std::int64_t sample_bytes);

  // What is to be asked for before `batch` is read. `storage_reads` is any count that rises whenever this thread makes
  // storage read, by asking or by waiting.
  std::span<const Range> before(std::span<const std::int64_t> batch, std::int64_t storage_reads);

  static constexpr int kPatience = 32;  // batches

 private:
  std::int64_t samples_, group_, most_ahead_;
  int asking_ = 1;           // batches for which it goes on
  std::int64_t reads_ = -1;  // storage_reads of the last call
  Walk walk_;
  std::vector<Range> wanted_;
};

// Such a count: blocks that this thread made storage read, and pages it had to wait for.
std::int64_t storage_reads_of_this_thread();

}  // namespace brigade::dataset
