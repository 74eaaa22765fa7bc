/// Averages of batch-norm statistics over the steps of training, by which evaluation normalises.
#pragma once

#include <cstdint>
#include <vector>

#include "brigade/network/executor.hpp"
#include "brigade/ops/backend.hpp"

namespace brigade::training {

/// Knows how each follows the statistics of a step; owns none of them.
class RunningAverages {
 public:
  /// `layout`: neighbouring ranges of the flat averages, from 0 on.
  explicit RunningAverages(const std::vector<network::FlatTensor>& layout);

  /// With the momentum m of its layer, an average becomes
  ///     m * average + (1 - m) * sum / micro_batches,
  /// for a `share` of a whole step with share * (1 - m) in place of 1 - m. `sums` over micro-batches and `averages` are
  /// flat, laid out as told.
  void follow(ops::Backend& backend, ConstTensorView sums, TensorView averages, std::int64_t micro_batches,
              float share = 1) const;

 private:
  struct Span {  // neighbouring averages that share a momentum are updated as one
    std::int64_t offset, size;
    float momentum;
  };
  std::vector<Span> spans_;
};

}  // namespace brigade::training
