/// Training by synchronous data parallelism.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "brigade/communication/allreduce.hpp"
#include "brigade/communication/communicator.hpp"
#include "brigade/dataset/augment.hpp"
#include "brigade/dataset/reader.hpp"
#include "brigade/dataset/sampling.hpp"
#include "brigade/network/precision.hpp"
#include "brigade/ops/backend.hpp"
#include "brigade/telemetry/run_directory.hpp"
#include "brigade/training/optimizer.hpp"

namespace brigade::training {

enum class StrategyKind : std::uint8_t {
  one_device,        ///< one rank
  mirrored,          ///< all ranks of one node: gradients are summed in every step
  multi_worker,      ///< all ranks: gradients are summed in every step
  parameter_server,  ///< the last ranks keep the weights; the others push gradients and pull weights in every step
  local_sgd,         ///< ranks train by themselves and average their weights now and then
};

struct TrainOptions {
  std::filesystem::path dataset;
  std::filesystem::path run;  ///< run directory, made if missing
  std::string network = "fashion-cnn";
  double width_multiplier = 1;                              ///< of the network's filters, where its paper has one
  network::Precision precision = network::Precision::fp32;  ///< of activations, in training and validation
  std::string validation_split = "auto";                    ///< "auto": val, else test, else none; "none"
  std::int64_t epochs = 1;
  std::int64_t max_steps = 0;       ///< 0: no limit
  std::int64_t global_batch = 128;  ///< images per optimizer step, over all ranks
  std::int64_t micro_batches = 0;   ///< parts the global batch is cut into; 0: one a rank
  StrategyKind strategy = StrategyKind::multi_worker;
  std::int64_t sync_every = 8;        ///< steps between averages of local SGD
  int servers = 1;                    ///< ranks that are parameter servers
  bool asynchronous = false;          ///< parameter servers do a step for every push, not for those of all workers
  std::int64_t staleness = 4;         ///< steps that an asynchronous worker may be ahead of the slowest
  bool reproducible = false;          ///< the same bits on any power of two of ranks that divides micro_batches
  std::int64_t batch_norm_group = 1;  ///< neighbouring ranks whose micro-batches share batch-norm statistics
  std::optional<float> dropout;       ///< instead of the network's own rate
  std::optional<float> batch_norm_momentum;  ///< of running averages, instead of the network's own
  double warmup_epochs = 0;
  OptimizerOptions optimizer;  ///< warmup_steps is computed from warmup_epochs
  std::uint64_t seed = 1;
  dataset::ReaderOptions reader;
  dataset::Augmentation augmentation;
  std::int64_t image_size = 0;  ///< height and width the network sees, at most those stored; 0: as stored
  dataset::OrderOptions order;  ///< of the training samples
  int prefetch = -1;            ///< batches made ahead; -1: data threads + 2
  int data_threads = 0;         ///< that make them; 0: chosen by what there is to do
  /// Gradients summed at once while backward goes on; 0: an eighth of all, but 256 KiB to 4 MiB.
  std::size_t bucket_bytes = 0;
  bool tune_buckets = false;  ///< finds that size in the first steps, instead
  communication::AllreduceOptions allreduce;
  std::string allreduce_table;  ///< the file that allreduce.short_bytes was read from, for the plan and run.json
  bool resume = false;
  std::int64_t checkpoint_every_epochs = 1;  ///< 0: only at the end
  int keep_checkpoints = 2;
  bool dry_run = false;                         ///< print the plan and stop
  std::vector<int> pinned_processors;           ///< of this rank's threads, for run.json
  std::vector<telemetry::LinkInfo> links{};     ///< as preflight found them, for run.json
  std::string command_line;                     ///< for run.json
  std::map<std::string, std::string> resolved;  ///< all options as given or by default, for run.json
};

struct TrainResult {
  ExitCode code = ExitCode::done;
  telemetry::Summary summary;
};

/// Collective. Throws OptionError, DataError, DivergedError, PeerError.
TrainResult train(const TrainOptions& options, ops::Backend& backend, communication::Communicator& communicator);

/// Asks a running train() to stop after the step under way, with a checkpoint and exit code 75. Safe to call
/// from a signal handler.
void request_stop() noexcept;

}  // namespace brigade::training
