/// Evaluation: every sample of a split counted exactly once, at any number of ranks, with no padding.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/dataset/batches.hpp"
#include "brigade/network/executor.hpp"

namespace brigade::training {

struct WorstError {
  std::string name;        ///< where the image came from
  std::int64_t index = 0;  ///< in its split
  std::int32_t label = 0, predicted = 0;
  double loss = 0;
};

struct Evaluation {
  std::int64_t samples = 0, top1 = 0, top5 = 0;  ///< counts
  double loss_sum = 0;  ///< the same bits at any number of ranks
  std::vector<std::int64_t> confusion;  ///< [label][predicted], if asked for
  std::vector<WorstError> worst;        ///< wrongly classified, largest loss first

  double loss() const { return loss_sum / static_cast<double>(samples); }
  double top1_accuracy() const { return static_cast<double>(top1) / static_cast<double>(samples); }
  double top5_accuracy() const { return static_cast<double>(top5) / static_cast<double>(samples); }
};

struct EvaluationOptions {
  std::int64_t batch = 64;  ///< at most the executor's max_batch
  bool confusion = false;
  std::int64_t worst = 0;  ///< how many of the worst errors to list
  dataset::StreamOptions stream;
};

/// Collective. Each rank reads its part of the split; the result is the same on all ranks.
Evaluation evaluate(network::Executor& executor, const dataset::SplitFiles& files,
                    communication::Communicator& communicator, const EvaluationOptions& options);

/// Writes evaluation.json.
void write_evaluation(const std::filesystem::path& file, const std::string& split,
                      const std::vector<std::string>& classes, const Evaluation& evaluation);

}  // namespace brigade::training
