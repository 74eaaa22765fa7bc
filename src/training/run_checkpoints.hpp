// The checkpoints of a run: where it goes on, and what is left for the next start.
#pragma once

#include <cstdint>
#include <filesystem>

#include "brigade/communication/communicator.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/ops/backend.hpp"
#include "brigade/training/optimizer.hpp"
#include "plan.hpp"

namespace brigade::training {

// Sums over the images of the epoch under way.
struct EpochSums {
  double loss = 0, correct = 0, train_s = 0;
  std::int64_t images = 0;
};

struct Progress {
  std::int64_t step = 0;  // steps done
  EpochSums epoch;
};

class RunCheckpoints {
 public:
  RunCheckpoints(const TrainOptions& options, const Plan& plan, network::Executor& executor, Optimizer& optimizer,
                 ops::Backend& backend, communication::Communicator& communicator);

  // Collective: the newest checkpoint's weights and state, which every rank reads itself; nothing if there is none.
  // Throws OptionError if that run had other options, DataError.
  Progress resume();
  // Collective: all ranks hold the same weights and optimizer state; rank 0 writes them.
  void save(const Progress& progress);
  // Of the newest checkpoint; -1: none.
  std::int64_t saved_step() const { return saved_step_; }

 private:
  Progress restore_from(const std::filesystem::path& checkpoint);
  void write(const Progress& progress);

  const TrainOptions& options_;
  const Plan& plan_;
  network::Executor& executor_;
  Optimizer& optimizer_;
  ops::Backend& backend_;
  communication::Communicator& communicator_;
  std::int64_t saved_step_ = -1;
};

}  // namespace brigade::training
