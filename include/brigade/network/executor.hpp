/// Runs a graph on a backend, forward and backward, in memory planned once.
///
/// All numbers that are learnt or summed over ranks live in flat arrays, so that a bucket of
/// gradients is a range and an optimizer step is a loop over few long spans:
///
///     weights     [ parameters in forward order ]
///     reduction   [ header | batch statistics | gradients in forward order ]
///     statistics  [ running mean and variance of each batch norm ]
///
/// Backward finishes gradients from the end of `reduction` towards its front.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "brigade/core/memory.hpp"
#include "brigade/network/batch_norm_group.hpp"
#include "brigade/network/graph.hpp"
#include "brigade/network/passes.hpp"
#include "brigade/network/precision.hpp"
#include "brigade/ops/backend.hpp"

namespace brigade::network {

/// A named range of one of the flat arrays (offsets and sizes in elements).
struct FlatTensor {
  std::string name;  ///< "conv1/kernel", "conv1/bias", "bn1/gamma", "bn1/moving_mean", ...
  Shape shape;
  std::int64_t offset = 0;
  bool decay = false;  ///< weight decay applies (kernels, not biases nor batch-norm parameters)
  float momentum = 0;  ///< of running averages: weight of the old
  std::int64_t size() const { return shape.size(); }
};

struct ExecutorOptions {
  std::int64_t max_batch = 1;                  ///< largest micro-batch (or evaluation batch) to be run
  bool training = true;                        ///< false: no gradients, smaller arena
  std::int64_t reduction_header = 0;           ///< floats kept free for the caller at the front of `reduction`
  MemoryResource* reduction_memory = nullptr;  ///< of `reduction`, which the backend can use; null: the backend's
  std::uint64_t seed = 1;                      ///< of initial weights and dropout
  float label_smoothing = 0;                   ///< of the loss in training (ops/softmax_cross_entropy.hpp)
  Passes passes = {};
  Precision precision = Precision::fp32;       ///< of the passes of training and of evaluation
  BatchNormGroup* batch_norm_group = nullptr;  ///< in training; outlives the executor. Null: a micro-batch by itself
};

struct MicroBatch {
  /// Host, [n, H, W, C]. A backend that computes in the host's memory reads them there, in backward, too.
  const float* images = nullptr;
  const std::int32_t* labels = nullptr;  ///< host, [n]
  std::int64_t n = 0;
  const std::int32_t* mixed_labels = nullptr;  ///< host, [n]: the second label of each image, or null
  const float* label_share = nullptr;          ///< host, [n]: of the first label, with mixed_labels
  std::int64_t first_sample = 0;               ///< index of its first sample in the global batch
  std::int64_t step = 0;  ///< of training; keys the dropout masks, with the index of the layer in the
                          ///< graph as given to the executor
};

class Executor {
 public:
  /// Applies the passes, plans the arena, allocates, and draws the initial weights (Glorot uniform,
  /// Glorot and Bengio 2010; biases 0; gamma 1, beta 0). Only weights drawn from (seed, tensor number)
  /// via random_u32(Purpose::initial_weights): element i = (2 u(i) - 1) * sqrt(6 / (fan_in + fan_out)).
  Executor(const Graph& graph, ops::Backend& backend, const ExecutorOptions& options);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// The graph as it is computed, after the passes (of training, if that was prepared).
  const Graph& graph() const;

  const std::vector<FlatTensor>& parameters() const;         ///< ranges of weights()
  const std::vector<FlatTensor>& statistics_layout() const;  ///< ranges of statistics()
  /// May be written until the next pass; ask again before writing after an evaluation, which may keep numbers derived
  /// from both for the next.
  TensorView weights();
  TensorView statistics();
  TensorView reduction();
  std::int64_t gradients_offset() const;  ///< of the gradients within reduction()

  /// Training forward pass of a micro-batch: losses and label ranks are left in loss() and
  /// label_rank(); batch statistics in `reduction`, per batch norm its mean, then its unbiased
  /// variance (divided by the count - 1, as running averages want it).
  void forward(const MicroBatch& batch);
  /// Overwrites all gradients. `scale` multiplies the loss (1 / global batch). After each layer,
  /// gradient_ready(offset), if given: the elements [offset, end) of `reduction` are final. The offsets fall;
  /// the last is the front of the batch statistics. Once for each forward (it consumes the activations).
  void backward(float scale, const std::function<void(std::int64_t offset)>& gradient_ready);
  /// Evaluation forward pass (running statistics, no dropout): loss(), label_rank(), probabilities().
  /// Comes between steps, not between a forward and its backward.
  void evaluate(const MicroBatch& batch);

  /// Of the last pass, downloaded to the host: [n], [n], [n, classes] (empty after a training pass). Valid
  /// until the next call.
  std::span<const float> loss();
  std::span<const std::int32_t> label_rank();
  std::span<const float> probabilities();

  std::int64_t arena_bytes() const;  ///< planned activations and their gradients

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// The decisions of the memory planner for a graph, for `brigade models` and tests: bytes of
/// activations (and gradients if `training`) at this batch size, after the passes, where the backend reads the images
/// in the caller's memory.
std::int64_t planned_bytes(const Graph& graph, std::int64_t batch, bool training, const Passes& passes = {},
                           Precision precision = Precision::fp32);
/// Number of learnt values (of all nodes, of one), and of batch-norm statistics.
std::int64_t parameter_count(const Graph& graph);
std::int64_t parameter_count(const Node& node);
std::int64_t statistics_count(const Graph& graph);

}  // namespace brigade::network
