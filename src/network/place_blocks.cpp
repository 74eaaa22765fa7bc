// Places for blocks whose lifetimes are known.
#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <numeric>
#include <span>

#include "brigade/core/random.hpp"
#include "memory_plan.hpp"

namespace brigade::network {
namespace {

bool meet_in_time(const Block& a, const Block& b) { return a.first <= b.last && b.first <= a.last; }

// The smallest gap between `obstacles` (sorted by offset) that takes `bytes`, or their end.
std::int64_t best_gap(std::span<const Block* const> obstacles, std::int64_t bytes) {
  std::int64_t free_from = 0, best = -1, best_size = 0;
  for (const Block* obstacle : obstacles) {
    const std::int64_t gap = obstacle->offset - free_from;
    if (gap >= bytes && (best < 0 || gap < best_size)) {
      best = free_from;
      best_size = gap;
    }
    free_from = std::max(free_from, obstacle->offset + obstacle->bytes);
  }
  return best >= 0 ? best : free_from;
}

// One after the other in the given order, each block into the smallest gap that its contemporaries leave.
std::int64_t place_in_order(std::span<Block> blocks, std::span<const std::size_t> order) {
  std::int64_t bytes = 0;
  std::vector<const Block*> placed, obstacles;  // placed: by offset
  for (const std::size_t i : order) {
    Block& block = blocks[i];
    obstacles.clear();
    std::ranges::copy_if(placed, std::back_inserter(obstacles),
                         [&](const Block* b) { return meet_in_time(*b, block); });
    block.offset = best_gap(obstacles, block.bytes);
    bytes = std::max(bytes, block.offset + block.bytes);
    placed.insert(std::ranges::upper_bound(placed, block.offset, {}, &Block::offset), &block);
  }
  return bytes;
}

}  // namespace

std::int64_t most_alive(std::span<const Block> blocks) {
  const auto last = std::ranges::max(blocks, {}, &Block::last).last;
  std::vector<std::int64_t> growth(static_cast<std::size_t>(last + 2));  // by moment
  for (const Block& block : blocks) {
    growth[static_cast<std::size_t>(block.first)] += block.bytes;
    growth[static_cast<std::size_t>(block.last + 1)] -= block.bytes;
  }
  std::int64_t alive = 0, most = 0;
  for (const std::int64_t bytes : growth) most = std::max(most, alive += bytes);
  return most;
}

// Greedy, the largest block first (Pisarchyk, Lee, "Efficient memory management for deep neural net inference",
// arXiv:2001.03288, section 5), or the one that lives longest, or the largest product of both: whichever packs best.
// While that needs more than what lives at one moment, two places in the order are exchanged, and stay so unless it
// gets worse.
std::int64_t place_blocks(std::vector<Block>& blocks) {
  constexpr std::uint64_t kExchanges = 200;
  const auto lifetime = [](const Block& b) { return static_cast<double>(b.last - b.first + 1); };
  const std::array<std::function<double(const Block&)>, 3> priorities = {
      [](const Block& b) { return static_cast<double>(b.bytes); }, lifetime,
      [&](const Block& b) { return static_cast<double>(b.bytes) * lifetime(b); }};
  std::vector<std::size_t> order(blocks.size()), best_order;
  std::int64_t fewest = std::numeric_limits<std::int64_t>::max();
  for (const auto& priority : priorities) {
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return priority(blocks[i]); });
    const std::int64_t bytes = place_in_order(blocks, order);
    if (bytes >= fewest) continue;
    best_order = order;
    fewest = bytes;
  }
  const std::int64_t enough = most_alive(blocks);
  for (std::uint64_t i = 0; i < kExchanges && fewest > enough; ++i) {
    order = best_order;
    const auto any = [&](std::uint64_t draw) { return random_u32(RandomKey{}, draw) % order.size(); };
    std::swap(order[any(2 * i)], order[any(2 * i + 1)]);
    const std::int64_t bytes = place_in_order(blocks, order);
    if (bytes > fewest) continue;
    best_order = order;
    fewest = bytes;
  }
  return place_in_order(blocks, best_order);
}

}  // namespace brigade::network
