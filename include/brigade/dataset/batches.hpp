/// Batches of normalised images, read ahead by a thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "brigade/dataset/reader.hpp"
#include "brigade/dataset/sampling.hpp"

namespace brigade::dataset {

/// Valid until the next call of BatchStream::next().
struct Batch {
  std::span<const float> images;          ///< [n, h, w, c], (pixel / 255 - mean) / stddev
  std::span<const std::int32_t> labels;   ///< [n]
  std::span<const std::int64_t> indices;  ///< [n], samples of the split
  std::int64_t number = 0;                ///< which batch of the plan
};

/// Writes the samples of batch number k into `indices`; false: there is no such batch.
/// Called on the reading thread, with k = first, first + 1, ...
using BatchPlan = std::function<bool(std::int64_t k, std::vector<std::int64_t>& indices)>;

struct StreamOptions {
  int prefetch = 3;  ///< batches read ahead; 0: read in next(), without a thread
  std::int64_t first = 0;
  std::array<float, 3> mean{}, stddev{1, 1, 1};
};

class BatchStream {
 public:
  BatchStream(std::unique_ptr<SplitReader> reader, BatchPlan plan, const StreamOptions& options);
  ~BatchStream();
  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

  /// The next batch, or null after the last one. Rethrows what went wrong while reading it.
  const Batch* next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Training: batch k of this rank is its share `share` of global batch k % steps_per_epoch of epoch
/// k / steps_per_epoch, in the order pi_epoch; samples left over at the end of an epoch are dropped
/// (others each epoch). `share` is a range within the global batch. Runs forever.
BatchPlan training_plan(std::int64_t samples, std::int64_t global_batch, Range share, std::uint64_t seed);

/// Evaluation: the samples of `range`, in order, in batches of at most `batch`; each exactly once.
BatchPlan evaluation_plan(Range range, std::int64_t batch);

}  // namespace brigade::dataset
