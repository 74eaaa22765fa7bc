// The splits of the dataset that a run reads: batches of the training samples, and validation.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "brigade/communication/communicator.hpp"
#include "brigade/dataset/batches.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/training/evaluation.hpp"
#include "plan.hpp"

namespace brigade::training {

class TrainingData {
 public:
  // Collective over those who train. Throws DataError.
  TrainingData(const TrainOptions& options, const Plan& plan, communication::Communicator& communicator);

  // How the training shards are read, and why if that was chosen.
  const dataset::SplitFiles& training_files() const { return training_files_; }
  // This rank's share of the batches from step number `first_step` on.
  std::unique_ptr<dataset::BatchStream> training_stream(std::int64_t first_step) const;
  // Collective: each sample of the validation split once. Only if the plan has such a split.
  Evaluation validate(network::Executor& executor) const;

 private:
  dataset::SplitFiles open(const std::string& split, std::int64_t read_ahead_samples) const;
  dataset::StreamOptions validation_stream() const;

  const TrainOptions& options_;
  const Plan& plan_;
  communication::Communicator& communicator_;
  dataset::SplitFiles training_files_;
  std::optional<dataset::SplitFiles> validation_files_;
};

}  // namespace brigade::training
