/// Sampling order as a function: sample i of epoch e is pi_e(i), a keyed permutation computed in
/// O(1) memory, so that any rank of any rank count finds its own samples and a data cursor is one
/// integer.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "brigade/core/random.hpp"
#include "brigade/core/range.hpp"

namespace brigade::dataset {

/// A bijection of [0, size) chosen by (seed, purpose, stream): a Feistel network on Z_a x Z_b with a*b just over
/// the size, walked until it lands inside. Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002
/// (generalised Feistel, cycle walking).
class Permutation {
 public:
  Permutation(std::int64_t size, std::uint64_t seed, std::uint32_t stream, Purpose purpose = Purpose::sample_order,
              std::uint32_t position = 0);
  std::int64_t operator()(std::int64_t i) const;
  std::int64_t size() const { return size_; }

 private:
  std::int64_t size_;
  std::uint64_t low_ = 1, high_ = 1;     // a and b
  std::array<std::uint64_t, 6> keys_{};  // one a round
};

/// Of numbers of samples, batches, shards ...
using Range = brigade::Range<std::int64_t>;

/// Part `part` of `count` nearly equal parts of [0, total): [total*part/count, total*(part+1)/count).
constexpr Range part_of(std::int64_t total, std::int64_t part, std::int64_t count) {
  return {total * part / count, total * (part + 1) / count};
}

enum class Shuffle : std::uint8_t {
  full,   ///< any sample may come anywhere
  block,  ///< blocks of neighbours come in random order, and the samples of kBlocksMixed of them are mixed
  none,   ///< as stored
};

/// What becomes of the samples that are left when an epoch's whole batches are done, if there are any.
enum class Tail : std::uint8_t {
  drop,  ///< they are left out of this epoch: others each time, if the order is shuffled
  fill,  ///< a last batch holds them, and is filled with the first samples of the epoch once more
};

struct OrderOptions {
  Shuffle shuffle = Shuffle::full;
  std::int64_t block = 256;  ///< samples, of Shuffle::block
  Tail tail = Tail::drop;
};

/// Batches of an epoch of `samples`.
constexpr std::int64_t steps_per_epoch(std::int64_t samples, std::int64_t global_batch, Tail tail) {
  return (samples + (tail == Tail::fill ? global_batch - 1 : 0)) / global_batch;
}

/// "full", "block of 256", "none"; with ", last batch filled" after it
std::string to_string(const OrderOptions& order);

/// In which order an epoch takes the samples: a bijection of [0, samples), a function of (options, seed, epoch) alone.
///
/// Block shuffle, for storage that seeks slowly: blocks of neighbouring samples are permuted, 16 of them in a row make
/// a window, and the samples of a window are permuted. Storage sees 16 streams of neighbours at a time.
class SampleOrder {
 public:
  static constexpr std::int64_t kBlocksMixed = 16;

  SampleOrder(std::int64_t samples, std::uint64_t seed, std::uint32_t epoch, const OrderOptions& options = {});
  /// Sample number i of the epoch.
  std::int64_t operator()(std::int64_t i) const;

 private:
  std::int64_t samples_;
  std::uint64_t seed_;
  std::uint32_t epoch_;
  OrderOptions options_;
  Permutation order_;            // of samples (full) or blocks (block)
  std::int64_t short_at_ = 0;    // where the last block, which may be short, comes in the order of blocks
  std::int64_t short_size_ = 0;  // its samples
  mutable Permutation window_;   // of the samples of window window_number_
  mutable std::int64_t window_number_ = -1;
};

}  // namespace brigade::dataset
