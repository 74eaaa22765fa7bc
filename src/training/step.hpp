// One step of synchronous data-parallel training; step.cpp is the place to start reading Brigade.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "batch_norm_group.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/dataset/batches.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/telemetry/step_log.hpp"
#include "brigade/training/optimizer.hpp"
#include "brigade/training/running_averages.hpp"
#include "micro_batch_sum.hpp"
#include "strategy.hpp"

namespace brigade::training {

struct StepOptions {
  std::int64_t global_batch = 1;
  std::int64_t micro_batches = 1;         // of the global batch
  dataset::Range own_micro_batches;       // of this rank
  RankGroup* batch_norm_group = nullptr;  // ranks wait for one another within forward: all must have their batch first
  double clock_origin_s = 0;              // now_s() at which the ranks' common clock shows 0
  std::function<bool()> stop_requested;   // asked once a step
};

class TrainingStep {
 public:
  TrainingStep(network::Executor& executor, ops::Backend& backend, communication::Communicator& communicator,
               dataset::BatchStream& batches, Optimizer& optimizer, MicroBatchSum& sum, Strategy& strategy,
               const StepOptions& options);

  // Does step number `step` (from 0) and fills the row of its log but for `epoch`. All ranks meet at a `boundary`
  // (strategy.hpp). Throws, on all ranks alike, if any rank could not read its batch or the loss is not finite.
  StepStatus run(std::int64_t step, float learning_rate, bool boundary, telemetry::StepRow& row);

 private:
  const dataset::Batch* next_batch(telemetry::StepRow& row);
  void forward_backward(const dataset::Batch& batch, std::int64_t step, telemetry::StepRow& row);
  void finish_reduction(std::int64_t step, telemetry::StepRow& row);
  void settle(std::int64_t step, bool boundary, telemetry::StepRow& row);
  void optimize(std::int64_t step, float learning_rate, telemetry::StepRow& row);
  void check(std::int64_t step) const;
  void agree_on_data() const;

  double own_lap();
  void put_predictions(bool first_of_rank);

  network::Executor& executor_;
  ops::Backend& backend_;
  communication::Communicator& communicator_;
  dataset::BatchStream& batches_;
  Optimizer& optimizer_;
  const RunningAverages running_averages_;
  StepOptions options_;
  MicroBatchSum& micro_batch_sum_;
  Strategy& strategy_;
  TensorView sum_;               // what is reduced: its total
  std::size_t sent_before_ = 0;  // bytes, by the steps before
  StepStatus status_;
  std::string failure_;  // why this rank has no batch
  Stopwatch watch_;
};

}  // namespace brigade::training
