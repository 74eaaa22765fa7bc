#include "in_place_sums.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace brigade::communication {
namespace {

constexpr std::size_t kSegment = 8 << 10;  // floats: long enough to hide a claim, short enough to share evenly
constexpr std::size_t kRun = 2048;         // floats added up before they are written: they stay in the first cache

void sum_of_two(float* a, float* b, std::size_t count) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) a[i] = b[i] = a[i] + b[i];
}

}  // namespace

InPlaceSums::InPlaceSums(MPI_Comm node)
    : memory_(node, sizeof(Counters)), rank_(memory_.rank()), size_(memory_.ranks()), tree_sum_(size_), sum_(kRun) {
  if (memory_) counters(rank_).working.store(kNone);
}

// Lock-free atomics without constructors or destructors to run: zeroed memory holds zeros.
InPlaceSums::Counters& InPlaceSums::counters(int rank) const {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  return *std::launder(reinterpret_cast<Counters*>(memory_.part(rank)));
}

std::uint64_t InPlaceSums::start(std::vector<float*> arrays, std::size_t floats) {
  if (floats == 0 || broken_) return 0;
  const std::uint64_t first = started_;
  started_ += (floats + kSegment - 1) / kSegment;
  jobs_.push_back({.arrays = std::move(arrays), .floats = floats, .first = first, .end = started_});
  counters(rank_).ready.store(started_, std::memory_order_release);
  return started_;
}

bool InPlaceSums::advance() {
  bool moved = false;
  std::uint64_t segment = 0;
  while (const Job* job = claim(segment)) {
    add_up(*job, segment);
    counters(rank_).working.store(kNone, std::memory_order_release);
    moved = true;
  }
  while (!jobs_.empty() && done(jobs_.front().end)) jobs_.pop_front();
  return moved;
}

// The sum that the claimed segment belongs to; null if there is nothing to do now.
const InPlaceSums::Job* InPlaceSums::claim(std::uint64_t& segment) {
  std::atomic<std::uint64_t>& next = counters(0).next;
  for (segment = next.load();;) {
    const auto job = std::ranges::find_if(jobs_, [&](const Job& j) { return segment < j.end; });
    if (job == jobs_.end()) return nullptr;
    for (int rank = 0; rank < size_; ++rank)
      if (counters(rank).ready.load(std::memory_order_acquire) < job->end) return nullptr;
    counters(rank_).working.store(segment);
    const std::uint64_t wanted = segment;
    if (next.compare_exchange_strong(segment, wanted + 1)) {
      segment = wanted;
      return &*job;
    }
    counters(rank_).working.store(kNone);  // somebody else has it; `segment` is the next one now
  }
}

void InPlaceSums::add_up(const Job& job, std::uint64_t segment) {
  const std::size_t begin = static_cast<std::size_t>(segment - job.first) * kSegment;
  const std::size_t end = std::min(begin + kSegment, job.floats);
  if (size_ == 2) return sum_of_two(job.arrays[0] + begin, job.arrays[1] + begin, end - begin);
  for (std::size_t at = begin; at < end; at += kRun) {
    const std::size_t count = std::min(kRun, end - at);
    tree_sum_(job.arrays, at, count, sum_.data());
    for (float* array : job.arrays) std::memcpy(array + at, sum_.data(), count * sizeof(float));
  }
}

bool InPlaceSums::done(std::uint64_t ticket) const {
  if (counters(0).next.load() < ticket) return false;
  for (int rank = 0; rank < size_; ++rank)
    if (counters(rank).working.load() < ticket) return false;
  return true;
}

}  // namespace brigade::communication
