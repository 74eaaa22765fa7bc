// The loop around the step, on a rank that trains: open, (resume,) epochs of steps, validation, logs, checkpoints.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "batch_norm_group.hpp"
#include "brigade/communication/communicator.hpp"
#include "brigade/communication/parameter_server.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/telemetry/run_directory.hpp"
#include "brigade/telemetry/step_log.hpp"
#include "brigade/telemetry/tensorboard.hpp"
#include "brigade/training/optimizer.hpp"
#include "brigade/training/trainer.hpp"
#include "micro_batch_sum.hpp"
#include "plan.hpp"
#include "run_checkpoints.hpp"
#include "step.hpp"
#include "strategy.hpp"
#include "training_data.hpp"

namespace brigade::training {

// Whether request_stop() was called (trainer.hpp).
bool stop_requested() noexcept;

class TrainingLoop {
 public:
  // `communicator`: of the ranks that train; `with_servers`: of these and the parameter servers, if there are any.
  TrainingLoop(const TrainOptions& options, const Plan& plan, ops::Backend& backend,
               communication::Communicator& communicator, const Job& job,
               communication::Communicator* with_servers = nullptr);

  // Collective.
  TrainResult run();

 private:
  void make_run_directory();
  void open_data();
  void write_run_info();
  std::vector<telemetry::SumInfo> described_sums() const;
  void log_bucket(std::size_t bytes, const std::string& why);
  void agree_on_weights();
  std::unique_ptr<Strategy> make_strategy(TensorView array, double clock_origin_s);
  void train_epochs();
  void train_epoch(std::int64_t epoch, TrainingStep& step);
  void count(const StepStatus& status, std::int64_t staleness);
  void gather_staleness();
  void end_epoch(std::int64_t epoch);
  void validate(telemetry::EpochRow& row);
  void checkpoint();
  TrainResult finish();

  bool stop() const { return stopped_ || progress_.step == last_step(); }
  std::int64_t last_step() const {
    return options_.max_steps > 0 ? std::min(options_.max_steps, plan_.total_steps) : plan_.total_steps;
  }
  // Gradients are summed in place where they can be: on the host, and if all ranks have the same arrays to sum.
  MemoryResource* sum_memory() const {
    const bool alike = plan_.micro_batches % communicator_.size() == 0;
    return alike && &backend_.memory() == &host_memory() ? &communicator_.array_memory() : nullptr;
  }

  const TrainOptions& options_;
  const Plan& plan_;
  ops::Backend& backend_;
  communication::Communicator& communicator_;
  const Job& job_;
  const bool speaks_;  // rank 0 writes the run's files and the progress line
  const std::unique_ptr<RankGroup> batch_norm_group_;
  network::Executor executor_;
  Optimizer optimizer_;  // with parameter servers: holds their state for checkpoints
  RunCheckpoints checkpoints_;
  std::optional<communication::ServedByOthers> servers_;
  std::optional<TrainingData> data_;
  std::optional<MicroBatchSum> sum_;
  std::unique_ptr<Strategy> strategy_;  // talks about the sum, to servers until the last checkpoint
  telemetry::StepLog step_log_;
  telemetry::TensorBoardWriter tensorboard_;

  Progress progress_;
  bool stopped_ = false;
  std::map<std::string, std::string> logged_options_ = options_.resolved;  // with what was found out while training
  telemetry::Summary summary_;                                             // its counts: of this rank, until the end
  std::int64_t images_ = 0;                                                // trained on by this process, all ranks
};

}  // namespace brigade::training
