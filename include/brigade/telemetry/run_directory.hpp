/// The files of a run that one rank writes: run.json, epochs.csv, summary.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "brigade/telemetry/place.hpp"

namespace brigade::telemetry {

/// A sum over ranks, as it was decided to be done.
struct SumInfo {
  std::int64_t bytes = 0;    ///< of floats, however they travel
  bool node_memory = false;  ///< ranks of a node add in shared memory
  std::string between{};     ///< algorithm of messages between nodes (without node_memory: ranks); empty: none are sent
  std::string wire{};        ///< format in which these send floats
};

/// Which of the sums between so many nodes were taken for short ones.
struct AllreduceTableInfo {
  int nodes = 0;                                  ///< that exchange messages
  std::int64_t halving_doubling_up_to_bytes = 0;  ///< of a sum; longer ones go by ring
  std::string source{};                           ///< "as shipped", or the file it was read from
  std::map<int, std::int64_t> others{};           ///< what other numbers of nodes would take, where that is known
};

/// Between two ranks, as measured before the run.
struct LinkInfo {
  int from = 0, to = 0;
  double latency_s = 0;    ///< of a message of one byte
  double bytes_per_s = 0;  ///< each way, while both send
};

/// How a run was started, for run.json.
struct RunInfo {
  std::string command_line{}, network{}, dataset{}, backend{};
  std::string reader{}, reader_why{};            ///< how the shards are read, and why if that was chosen
  std::map<std::string, std::string> options{};  ///< resolved, long names
  std::vector<LinkInfo> links{};                 ///< of the ring of all ranks; empty: nobody measured
  std::vector<SumInfo> sums{};                   ///< of gradients (local-sgd: of what is averaged), in their order
  std::optional<AllreduceTableInfo> allreduce_table{};  ///< none: nothing was chosen by size
  int ranks = 1, threads_per_rank = 1;                  ///< ranks that train
  std::vector<int> pinned_processors{};                 ///< of the threads of rank 0; empty: they are not pinned
  std::vector<Place> places{};                          ///< of each rank, those that train before those that serve
  std::int64_t parameters = 0, global_batch = 0, micro_batches = 1, steps_per_epoch = 0;
  double process_start_s = 0;  ///< Unix seconds
};

struct EpochRow {
  std::int64_t epoch = 0, step = 0;  ///< epoch counts from 1; step: the last one of the epoch
  double train_loss = 0, train_accuracy = 0;
  std::optional<double> val_loss{}, val_accuracy{}, val_top5_accuracy{};
  double learning_rate = 0;
  double train_s = 0, val_s = 0;
  std::int64_t train_images = 0, val_images = 0;
};

struct Summary {
  std::string exit_reason{};  ///< "done", "stopped early", ...
  std::int64_t epochs = 0, steps = 0;
  double train_loss = 0, train_accuracy = 0;
  std::optional<double> val_loss{}, val_accuracy{}, val_top5_accuracy{};
  double startup_s = 0;  ///< process start to first step, slowest rank
  double train_s = 0, val_s = 0, total_s = 0;
  double images_per_second = 0;     ///< training, all ranks
  std::int64_t peak_rss_bytes = 0;  ///< of the largest rank
  /// Element s: how many gradients were s updates old when they changed the weights. Empty unless workers were
  /// asynchronous.
  std::vector<std::int64_t> gradients_by_staleness{};
  /// Calls of H5Dread for training images, and those that HDF5 really did collectively; for --reader collective only.
  std::optional<std::pair<std::int64_t, std::int64_t>> collective_reads{};
};

/// What a rank says that has given up on others, as it stands on stderr, and where it was itself.
struct Failure {
  int rank = 0;  ///< of all ranks of the job
  std::string host{};
  std::string phase{};    ///< "start", "training", "validation", "checkpoint", "end"; of a server "serving"
  std::int64_t step = 0;  ///< under way, from 0 over the whole run; of a server its update
  double time_s = 0;      ///< Unix seconds
  std::string problem{};  ///< names who is missing, and in what this rank has waited
};

void write_run_info(const std::filesystem::path& directory, const RunInfo& info);
/// Rewrites epochs.csv with one more row; rows of the same or a later epoch are replaced (resume).
void append_epoch(const std::filesystem::path& directory, const EpochRow& row);
void write_summary(const std::filesystem::path& directory, const Summary& summary);
/// failure-<rank>.json, instead of one of an earlier start.
void write_failure(const std::filesystem::path& directory, const Failure& failure);
/// Throws DataError.
Summary read_summary(const std::filesystem::path& directory);

}  // namespace brigade::telemetry
