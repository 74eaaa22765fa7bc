// The permutation: sample i is written as (l, r) with i = l + a*r, l in Z_a, r in Z_b, a*b just over the size.
// Six Feistel rounds alternately do l += F(r) mod a and r += F(l) mod b. Each round can be undone, so the whole is a
// bijection of [0, a*b); a result outside [0, size), which happens about once in sqrt(size) draws, goes round again
// (cycle walking) and stays a bijection.
//
// F(x) is the output function of SplitMix64 (Steele, Lea, Flood, OOPSLA'14) at x + key, one key a round from Philox.
// Four rounds suffice for a random-looking permutation (Luby, Rackoff, 1988) and six while nearly all of it is drawn
// (Patarin, CRYPTO 2004), which is what an epoch does.
#include "brigade/dataset/sampling.hpp"

#include <algorithm>
#include <cmath>

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

using Wide = unsigned __int128;

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// Uniform in [0, n) up to n / 2^64, without a division.
std::uint64_t scale(std::uint64_t random, std::uint64_t n) {
  return static_cast<std::uint64_t>((static_cast<Wide>(random) * n) >> 64);
}

std::uint64_t add_modulo(std::uint64_t x, std::uint64_t y, std::uint64_t n) {
  const std::uint64_t sum = x + y;
  return sum >= n ? sum - n : sum;
}

}  // namespace

Permutation::Permutation(std::int64_t size, std::uint64_t seed, std::uint32_t stream, Purpose purpose,
                         std::uint32_t position)
    : size_(size) {
  EXPECT(size >= 0);
  const auto n = static_cast<std::uint64_t>(size);
  low_ = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(n)));
  if (low_ == 0 || low_ * low_ < n) ++low_;
  high_ = n == 0 ? 1 : (n + low_ - 1) / low_;
  for (std::uint64_t pair = 0; pair < keys_.size() / 2; ++pair) {
    const auto block = random_block({.seed = seed, .purpose = purpose, .stream = stream, .position = position}, pair);
    keys_[2 * pair] = block[0] | std::uint64_t{block[1]} << 32;
    keys_[2 * pair + 1] = block[2] | std::uint64_t{block[3]} << 32;
  }
}

std::int64_t Permutation::operator()(std::int64_t i) const {
  EXPECT(i >= 0 && i < size_);
  auto x = static_cast<std::uint64_t>(i);
  do {
    std::uint64_t low = x % low_, high = x / low_;
    for (std::size_t round = 0; round < keys_.size(); round += 2) {
      low = add_modulo(low, scale(mix(high + keys_[round]), low_), low_);
      high = add_modulo(high, scale(mix(low + keys_[round + 1]), high_), high_);
    }
    x = low + low_ * high;
  } while (x >= static_cast<std::uint64_t>(size_));
  return static_cast<std::int64_t>(x);
}

// ---- SampleOrder ----

namespace {

std::int64_t permuted(std::int64_t samples, const OrderOptions& options) {
  require<OptionError>(options.block >= 1, "a block of {} samples cannot be shuffled. Use a larger --shuffle-block?",
                       options.block);
  return options.shuffle == Shuffle::block ? (samples + options.block - 1) / options.block : samples;
}

}  // namespace

std::string to_string(const OrderOptions& order) {
  const std::string tail = order.tail == Tail::fill ? ", last batch filled" : "";
  if (order.shuffle == Shuffle::block) return fmt::format("block of {}{}", order.block, tail);
  return (order.shuffle == Shuffle::full ? "full" : "none") + tail;
}

SampleOrder::SampleOrder(std::int64_t samples, std::uint64_t seed, std::uint32_t epoch, const OrderOptions& options)
    : samples_(samples),
      seed_(seed),
      epoch_(epoch),
      options_(options),
      order_(permuted(samples, options), seed, epoch),
      window_(0, seed, epoch) {
  if (options.shuffle != Shuffle::block || samples == 0) return;
  const std::int64_t last = order_.size() - 1;
  short_size_ = samples - last * options.block;
  while (order_(short_at_) != last) ++short_at_;
}

// Position i -> position in its window -> block and place in the block. Only positions after the short block are off
// the grid of blocks.
std::int64_t SampleOrder::operator()(std::int64_t i) const {
  EXPECT(i >= 0 && i < samples_);
  if (options_.shuffle == Shuffle::none) return i;
  if (options_.shuffle == Shuffle::full) return order_(i);
  const std::int64_t block = options_.block, width = std::min(samples_, kBlocksMixed * block), number = i / width;
  if (number != window_number_) {
    const std::int64_t size = std::min(width, samples_ - number * width);
    window_ = Permutation(size, seed_, epoch_, Purpose::sample_order, static_cast<std::uint32_t>(number + 1));
    window_number_ = number;
  }
  const std::int64_t at = number * width + window_(i - number * width);
  if (at < short_at_ * block) return order_(at / block) * block + at % block;
  if (at < short_at_ * block + short_size_) return order_(short_at_) * block + at - short_at_ * block;
  const std::int64_t after = at - short_size_;
  return order_(after / block + 1) * block + after % block;
}

}  // namespace brigade::dataset
