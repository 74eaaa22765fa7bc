// The order in which our own algorithms add: a binary tree over the ranks, ((0+1) + (2+3)) + ..., whose left side is
// the largest power of two. Aligned groups of 2, 4, 8 ranks have the same partial sums as the tree over all ranks has,
// so a sum has the same bits whether it is made in one place or in several.
#pragma once

#include <cstddef>
#include <span>

namespace brigade::communication {

/// to[0, count) = the sum of the terms' elements [at, at + count). `to` may be a term's own place. From any thread.
void tree_sum(std::span<const float* const> terms, std::size_t at, std::size_t count, float* to);

}  // namespace brigade::communication
