// What a training run is going to do, decided and checked before any of it is done.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "brigade/dataset/manifest.hpp"
#include "brigade/dataset/sampling.hpp"
#include "brigade/network/graph.hpp"
#include "brigade/telemetry/place.hpp"
#include "brigade/training/checkpoint.hpp"
#include "brigade/training/trainer.hpp"
#include "last_words.hpp"

namespace brigade::training {

struct Plan {
  dataset::Manifest manifest;
  ModelInfo model;
  network::Graph graph;
  std::optional<std::string> validation_split;
  std::int64_t train_samples = 0;
  int data_threads = 1, prefetch = 3;
  std::int64_t micro_batches = 1;
  dataset::Range own_micro_batches;  // of this rank
  dataset::Range own_share;          // of the global batch, in samples
  std::int64_t leaf = 1;             // micro-batches added one after another, see micro_batch_sum.hpp
  communication::AllreduceOptions allreduce;
  std::int64_t steps_per_epoch = 1, total_steps = 1;
  OptimizerOptions optimizer;  // with warm-up in steps

  std::int64_t micro_batch() const { return own_share.size() / own_micro_batches.size(); }
};

// All ranks of the job, servers, too.
struct Job {
  std::vector<telemetry::Place> places;  // of each rank
  double clock_offset_s = 0;             // what to add to this rank's now_s() to read rank 0's
  std::shared_ptr<LastWords> last_words;
};

// `node_ranks`: ranks on this node. Throws OptionError or DataError. Does not communicate.
Plan make_plan(const TrainOptions& options, int rank, int ranks, int node_ranks);

// For --dry-run: memory, traffic and steps, as text. `ranks` of the communicator train.
std::string describe(const Plan& plan, const TrainOptions& options, const communication::Communicator& communicator,
                     int ranks);

// The options that must not change between a run and its resumption.
std::map<std::string, std::string> identity(const Plan& plan, const TrainOptions& options);

}  // namespace brigade::training
