// The order in which our own algorithms add: a binary tree over the ranks, ((0+1) + (2+3)) + ..., whose left side is
// the largest power of two. Aligned groups of 2, 4, 8 ranks have the same partial sums as the tree over all ranks has,
// so a sum has the same bits whether it is made in one place or in several.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace brigade::communication {

class TreeSum {
 public:
  explicit TreeSum(int terms);

  /// to[0, count) = the sum of the terms' elements [at, at + count). `to` may be a term's own place.
  void operator()(std::span<const float* const> terms, std::size_t at, std::size_t count, float* to);

 private:
  std::vector<float> spare_;  // partial sums of a run
};

}  // namespace brigade::communication
