// One step of synchronous data-parallel training; step.cpp is the place to start reading Brigade.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "brigade/communication/reducer.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/dataset/batches.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/telemetry/step_log.hpp"
#include "brigade/training/optimizer.hpp"
#include "micro_batch_sum.hpp"

namespace brigade::training {

// What every rank learns about a step of all ranks. It travels at the front of the last gradient
// bucket, so it costs no collective of its own, and all ranks act on it at the same step.
struct StepStatus {
  float loss_sum = 0;  // over the images of the global batch
  float correct = 0;   // images classified right
  float failed = 0;    // ranks that could not get their batch
  float stop = 0;      // ranks that were asked to stop
};
inline constexpr std::int64_t kStatusFloats = sizeof(StepStatus) / sizeof(float);

struct StepOptions {
  std::int64_t global_batch = 1;
  std::int64_t micro_batches = 1;    // of the global batch
  dataset::Range own_micro_batches;  // of this rank
  std::int64_t leaf = 1;             // of the sum over own micro-batches, see micro_batch_sum.hpp
  bool data_first = false;           // ranks wait for one another within forward: all must have their batch first
  float batch_norm_momentum = 0.99F;
  std::size_t bucket_bytes = 4U << 20;
  communication::AllreduceOptions allreduce;
  MemoryResource* sum_memory = nullptr;  // of the sum over own micro-batches; null: the backend's
  double clock_origin_s = 0;             // now_s() at which the ranks' common clock shows 0
  std::function<bool()> stop_requested;  // asked once a step
};

class TrainingStep {
 public:
  TrainingStep(network::Executor& executor, ops::Backend& backend, communication::Communicator& communicator,
               dataset::BatchStream& batches, Optimizer& optimizer, const StepOptions& options);

  // Does step number `step` (from 0) and fills the row of its log but for `epoch`. Throws, on all ranks alike,
  // if any rank could not read its batch or the loss is not finite.
  StepStatus run(std::int64_t step, float learning_rate, telemetry::StepRow& row);

 private:
  const dataset::Batch* next_batch(telemetry::StepRow& row);
  void forward_backward(const dataset::Batch& batch, std::int64_t step, telemetry::StepRow& row);
  void finish_reduction(std::int64_t step, telemetry::StepRow& row);
  void optimize(std::int64_t step, float learning_rate, telemetry::StepRow& row);
  void check(std::int64_t step) const;
  void agree_on_data() const;

  void put_predictions(bool first_of_rank);
  void reduce_from(std::int64_t offset);
  TensorView range(TensorView flat, std::int64_t begin, std::int64_t end) const;

  network::Executor& executor_;
  ops::Backend& backend_;
  communication::Communicator& communicator_;
  dataset::BatchStream& batches_;
  Optimizer& optimizer_;
  StepOptions options_;
  communication::GradientReducer reducer_;

  MicroBatchSum micro_batch_sum_;
  TensorView sum_;                     // what is reduced: its total
  std::vector<std::int64_t> buckets_;  // begin of each bucket within sum_, from the last to the first
  std::size_t buckets_added_ = 0;
  std::size_t sent_before_ = 0;  // bytes, by the steps before
  StepStatus status_;
  std::string failure_;  // why this rank has no batch
  Stopwatch watch_;
};

}  // namespace brigade::training
