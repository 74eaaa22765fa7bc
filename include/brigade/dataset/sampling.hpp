/// Sampling order as a function: sample i of epoch e is pi_e(i), a keyed permutation computed in
/// O(1) memory, so that any rank of any rank count finds its own samples and a data cursor is one
/// integer.
#pragma once

#include <array>
#include <cstdint>

#include "brigade/core/random.hpp"

namespace brigade::dataset {

/// A bijection of [0, size) chosen by (seed, purpose, stream): a Feistel network on Z_a x Z_b with a*b just over
/// the size, walked until it lands inside. Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002
/// (generalised Feistel, cycle walking).
class Permutation {
 public:
  Permutation(std::int64_t size, std::uint64_t seed, std::uint32_t stream, Purpose purpose = Purpose::sample_order);
  std::int64_t operator()(std::int64_t i) const;
  std::int64_t size() const { return size_; }

 private:
  std::int64_t size_;
  std::uint64_t low_ = 1, high_ = 1;     // a and b
  std::array<std::uint64_t, 6> keys_{};  // one a round
};

/// Half-open interval of integers.
struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

/// Part `part` of `count` nearly equal parts of [0, total): [total*part/count, total*(part+1)/count).
constexpr Range part_of(std::int64_t total, std::int64_t part, std::int64_t count) {
  return {total * part / count, total * (part + 1) / count};
}

}  // namespace brigade::dataset
