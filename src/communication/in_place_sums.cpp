#include "in_place_sums.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include "communicator_impl.hpp"
#include "tree_sum.hpp"
#include "wire.hpp"

namespace brigade::communication {
namespace {

constexpr std::size_t kRun = 2048;  // floats added up before they are written: they stay in the first cache

constexpr std::size_t kSegment = 8192;  // floats

// How many of the segments that are left of a sum a rank claims at once. The longer, the better: a processor fetches
// ahead, and past the end of what it has claimed takes lines from the rank that writes them. The nearer the end, the
// fewer, so that all ranks end at the same time (guided self-scheduling: Polychronopoulos & Kuck, IEEE Transactions on
// Computers C-36, 1987).
std::uint64_t share_of(std::uint64_t left, int ranks) {
  return std::max<std::uint64_t>(1, left / (2 * static_cast<std::uint64_t>(ranks)));
}

// The tree of tree_sum.hpp over element i of the arrays.
template <int kTerms>
float tree(float* const* arrays, std::size_t i) {
  if constexpr (kTerms == 1) {
    return arrays[0][i];
  } else {
    constexpr int kLeft = std::bit_ceil(static_cast<unsigned>(kTerms)) / 2;
    return tree<kLeft>(arrays, i) + tree<kTerms - kLeft>(arrays + kLeft, i);
  }
}

// Few ranks in one pass: nothing is stored but the sums.
template <int kTerms>
void sum_at_once(std::span<float* const> arrays, std::size_t begin, std::size_t end) {
  std::array<float*, kTerms> all;  // a local copy stays in registers
  std::ranges::copy(arrays, all.begin());
#pragma GCC ivdep
  for (std::size_t i = begin; i < end; ++i) {
    const float sum = tree<kTerms>(all.data(), i);
#pragma GCC unroll 4
    for (int rank = 0; rank < kTerms; ++rank) all[static_cast<std::size_t>(rank)][i] = sum;
  }
}

void sum_in_place(std::span<float* const> arrays, std::size_t begin, std::size_t end) {
  switch (arrays.size()) {
    case 2: return sum_at_once<2>(arrays, begin, end);
    case 3: return sum_at_once<3>(arrays, begin, end);
    case 4: return sum_at_once<4>(arrays, begin, end);
    default: break;
  }
  std::array<float, kRun> sum;
  for (std::size_t at = begin; at < end; at += kRun) {
    const std::size_t count = std::min(kRun, end - at);
    tree_sum(arrays, at, count, sum.data());
    for (float* array : arrays) std::memcpy(array + at, sum.data(), count * sizeof(float));
  }
}

}  // namespace

InPlaceSums::InPlaceSums(MPI_Comm node, const World& world)
    : world_(world), memory_(node, sizeof(Counters)), rank_(memory_.rank()), size_(memory_.ranks()) {
  if (memory_) own().working.store(kNone);
}

std::uint64_t InPlaceSums::start(std::vector<float*> arrays, std::size_t floats) {
  if (floats == 0 || broken_) return 0;
  started_ += (floats + kSegment - 1) / kSegment;
  jobs_.push_back({.arrays = std::move(arrays), .floats = floats, .end = started_});
  own().ready.store(started_, std::memory_order_release);
  return started_;
}

bool InPlaceSums::advance() {
  bool moved = false;
  for (Claim claimed; (claimed = claim()).job != nullptr; moved = true) {
    add_up(claimed);
    own().working.store(kNone, std::memory_order_release);
  }
  while (!jobs_.empty() && done(jobs_.front().end)) jobs_.pop_front();
  return moved;
}

InPlaceSums::Claim InPlaceSums::claim() {
  std::atomic<std::uint64_t>& next = memory_.notes<Counters>(0).next;
  for (std::uint64_t first = next.load();;) {
    const auto job = std::ranges::find_if(jobs_, [&](const Job& j) { return first < j.end; });
    if (job == jobs_.end()) return {};
    if (!memory_.everyone(&Counters::ready, job->end)) return {};
    const std::uint64_t last = first + share_of(job->end - first, size_);
    own().working.store(first);
    std::uint64_t seen = first;
    if (next.compare_exchange_strong(seen, last)) return {.job = &*job, .first = first, .last = last};
    own().working.store(kNone);  // somebody else has it
    first = seen;
  }
}

void InPlaceSums::add_up(const Claim& claimed) {
  const Job& job = *claimed.job;
  const std::size_t begin = static_cast<std::size_t>(job.end - claimed.last) * kSegment;
  const std::size_t end = std::min(static_cast<std::size_t>(job.end - claimed.first) * kSegment, job.floats);
  in_ranges(*world_.threads, begin, end, kThreadFloats,
            [&](std::size_t first, std::size_t last) { sum_in_place(job.arrays, first, last); });
}

bool InPlaceSums::done(std::uint64_t ticket) const {
  return memory_.notes<Counters>(0).next.load() >= ticket && memory_.everyone(&Counters::working, ticket);
}

}  // namespace brigade::communication
