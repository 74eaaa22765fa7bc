// The sum of the flat arrays of a rank's micro-batches, added range by range as backward finishes them.
//
// `leaf` neighbouring micro-batches are added one after another; the sums of leaves are added as a binary tree,
// ((0+1) + (2+3)) + ...: with leaves that the number of ranks leaves whole, and ranks that add up their sums as the
// tree goes on (communication/allreduce.hpp, one_tree), the sum over all micro-batches has the same bits on 1, 2, 4 ...
// ranks. Partial sums wait on a stack, as the bits of a binary counter do: before leaf l there are popcount(l) of them.
#pragma once

#include <cstdint>
#include <vector>

#include "brigade/core/memory.hpp"
#include "brigade/ops/backend.hpp"

namespace brigade::training {

class MicroBatchSum {
 public:
  // Of `count` micro-batches, a multiple of `leaf`; each leaves its array in `source`. The sum is in `memory`, too.
  MicroBatchSum(ops::Backend& backend, MemoryResource& memory, TensorView source, std::int64_t count,
                std::int64_t leaf);

  // Where the sum is after the last micro-batch: `source` itself if there is only one.
  TensorView total() const { return partial_sums_.empty() ? source_ : partial_sums_.front(); }
  // Elements [begin, end) of `source` are those of micro-batch `number` (from 0), which come in order.
  void add(std::int64_t number, std::int64_t begin, std::int64_t end);

  // How many arrays of partial sums it needs.
  static std::int64_t arrays(std::int64_t count, std::int64_t leaf);

 private:
  void blend(float keep, const TensorView& from, const TensorView& to, std::int64_t begin, std::int64_t end);

  ops::Backend& backend_;
  TensorView source_;
  std::int64_t leaf_;
  Buffer first_, others_;
  std::vector<TensorView> partial_sums_;
};

}  // namespace brigade::training
