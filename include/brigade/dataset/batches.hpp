/// Batches of augmented, normalised images, made ahead of time by threads.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "brigade/dataset/augment.hpp"
#include "brigade/dataset/reader.hpp"
#include "brigade/dataset/sampling.hpp"

namespace brigade::dataset {

/// Valid until the next call of BatchStream::next().
struct Batch {
  std::span<const float> images;              ///< [n, h, w, c], (pixel / 255 - mean) / stddev
  std::span<const std::int32_t> labels;       ///< [n]
  std::span<const std::int64_t> indices;      ///< [n], samples of the split
  std::span<const std::int32_t> mixed_label;  ///< [n], of what was mixed into each image; empty without mixup
  std::span<const float> label_share;         ///< [n], of the image's own label, with mixed_label
  std::int64_t number = 0;                    ///< which batch of the plan
};

/// What a batch is made of.
struct Selection {
  std::vector<std::int64_t> indices;  ///< samples of the split, to be read
  Range own;                          ///< the batch, within indices; the others are there to be mixed with it
  std::int64_t epoch = 0;             ///< with the sample's index, it keys the augmentation
};

/// Writes what batch number k is made of; false: there is no such batch. Called with k = first, first + 1, ..., by
/// one thread at a time.
using BatchPlan = std::function<bool(std::int64_t k, Selection& selection)>;

struct StreamOptions {
  int prefetch = 3;  ///< batches made ahead; 0: made in next(), without a thread
  std::int64_t first = 0;
  std::array<float, 3> mean{}, stddev{1, 1, 1};
  Augmentation augmentation = {};      ///< its label smoothing is the loss's business
  std::uint64_t seed = 1;              ///< of the augmentation
  std::int64_t height = 0, width = 0;  ///< of the batch's images; 0: as stored
};

/// What was spent on the batches made so far, by all threads together.
struct StreamWork {
  ReadWork read = {};
  double make_s = 0;  ///< augmenting, normalising and mixing
  StreamWork& operator+=(const StreamWork& other);
};

class BatchStream {
 public:
  /// One thread makes whole batches with each reader, but no more threads than batches are made ahead. Order and bits
  /// depend on neither. Batches of collective readers are fetched in next(), by the caller's thread.
  BatchStream(std::vector<std::unique_ptr<SplitReader>> readers, BatchPlan plan, const StreamOptions& options);
  BatchStream(std::unique_ptr<SplitReader> reader, BatchPlan plan, const StreamOptions& options);
  ~BatchStream();
  BatchStream(const BatchStream&) = delete;
  BatchStream& operator=(const BatchStream&) = delete;

  /// The next batch, or null after the last one. Rethrows what went wrong while reading it (or, if the reader is
  /// collective, one ahead of it: on all ranks alike).
  const Batch* next();

  StreamWork work() const;
  /// Of the batches so far; zeros unless readers are collective. For the thread that calls next().
  CollectiveReads collective_reads() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Training: batch k of this rank is its share `share` of global batch k % steps_per_epoch of epoch
/// k / steps_per_epoch, in the epoch's SampleOrder; `order` says what becomes of samples left over at the end of an
/// epoch. `share` is a range within the global batch. Runs forever. `whole_pairs`, for mixup: samples
/// 2j and 2j + 1 of the global batch are read together, also where only one of them belongs to the share.
BatchPlan training_plan(std::int64_t samples, std::int64_t global_batch, Range share, std::uint64_t seed,
                        bool whole_pairs = false, const OrderOptions& order = {});

/// Evaluation: the samples of `range`, in order, in batches of at most `batch`; each exactly once. Empty batches follow
/// up to `at_least` ones, for collective readers.
BatchPlan evaluation_plan(Range range, std::int64_t batch, std::int64_t at_least = 0);

}  // namespace brigade::dataset
