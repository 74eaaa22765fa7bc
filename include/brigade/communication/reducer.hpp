/// Gradients summed over all ranks, bucket by bucket, while backward goes on.
///
/// The reducer has two verbs, add(bucket) and finish(), and sees spans of numbers, never layers.
/// Between layers, advance() lets the sums in flight move on without a second thread. Li et al.,
/// "PyTorch Distributed", VLDB 2020, section 3.2, for the idea of buckets.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <string_view>

#include "brigade/communication/allreduce.hpp"

namespace brigade::communication {

class GradientReducer {
 public:
  explicit GradientReducer(Communicator& communicator, const AllreduceOptions& options = {});

  /// Starts the sum of a finished bucket. The span must stay untouched until finish() returns.
  void add(std::span<float> bucket);
  /// Moves sums in flight on, without waiting; true if anything was done.
  bool advance();
  /// Waits until every added bucket holds the sum over all ranks.
  void finish(std::string_view what);

  /// Bytes this rank has sent since construction.
  std::size_t bytes_sent() const;

 private:
  Communicator* communicator_;
  AllreduceOptions options_;
  std::deque<Allreduce> in_flight_;
  std::size_t bytes_sent_ = 0;  // by sums that are complete
};

}  // namespace brigade::communication
