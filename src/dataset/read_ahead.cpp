#include "read_ahead.hpp"

#include <sys/resource.h>

#include <algorithm>

namespace brigade::dataset {
namespace {

// About 4 ms of a fast drive.
constexpr std::int64_t kAheadBytes = 8 << 20;

bool in_one_piece(std::span<const std::int64_t> batch) {
  return batch.size() > 1 && std::adjacent_find(batch.begin(), batch.end(), [](std::int64_t a, std::int64_t b) {
                               return a + 1 != b;
                             }) == batch.end();
}

}  // namespace

void Walk::step(Range batch, std::int64_t most, std::vector<Range>& soon) {
  const std::int64_t step = last_ < 0 ? 0 : batch.begin - last_;
  const bool steady = step > 0 && step == step_;
  last_ = batch.begin;
  step_ = step;
  if (!steady) {
    known_ = 0;
    return;
  }
  const std::int64_t count = std::max<std::int64_t>(1, most / batch.size());
  for (std::int64_t i = 1; i <= count; ++i) {
    const Range next{batch.begin + i * step, batch.end + i * step};
    if (next.end <= known_) continue;
    soon.push_back(next);
    known_ = next.end;
  }
}

ReadAhead::ReadAhead(std::int64_t samples, std::int64_t group, std::int64_t sample_bytes)
    : samples_(samples), group_(group), most_ahead_(kAheadBytes / std::max<std::int64_t>(1, sample_bytes)) {}

std::span<const Range> ReadAhead::before(std::span<const std::int64_t> batch, std::int64_t storage_reads) {
  if (reads_ >= 0) asking_ = storage_reads != reads_ ? kPatience : std::max(0, asking_ - 1);
  reads_ = storage_reads;
  wanted_.clear();
  if (asking_ == 0) return {};
  if (in_one_piece(batch)) {
    const Range piece{batch.front(), batch.back() + 1};
    if (!walk_.foreseen(piece)) wanted_.push_back(piece);
    walk_.step(piece, most_ahead_, wanted_);
  } else {
    for (const std::int64_t index : batch) wanted_.push_back({index / group_ * group_, (index / group_ + 1) * group_});
  }
  for (Range& range : wanted_) range = {std::min(range.begin, samples_), std::min(range.end, samples_)};
  std::erase_if(wanted_, [](Range range) { return range.begin == range.end; });
  return wanted_;
}

std::int64_t storage_reads_of_this_thread() {
  rusage usage{};
  return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_inblock + usage.ru_majflt : 0;
}

}  // namespace brigade::dataset
