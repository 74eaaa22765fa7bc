// One measurement of the I/O benchmark, and its row in this rank's log.
#pragma once

#include <filesystem>
#include <fstream>

#include "brigade/telemetry/system_counters.hpp"
#include "io.hpp"

namespace brigade::benchmarks {

// A point of the sweep, with what is needed to read it.
struct IoTask {
  IoPoint point;
  dataset::ReaderOptions reader;
};

// What one rank saw of a task.
struct RankMeasurement {
  IoMeasurement measured;
  std::vector<double> batch_s;  // of each batch
  telemetry::SystemCounters process_before, process;
  telemetry::NodeCounters node_before, node;
};

// Brings the page cache into the state that the task wants and reads the task's batches. Collective.
RankMeasurement measure(communication::Communicator& communicator, const IoData& data, const IoOptions& options,
                        const IoTask& task, double benchmark_start_s);

// `directory`/io-<rank>.csv, a row a measurement; columns in docs/io-benchmark.md.
class IoLog {
 public:
  IoLog() = default;  // writes nothing
  // Replaces such a log. Throws DataError if it cannot be written.
  IoLog(const std::filesystem::path& directory, int rank, int ranks, const IoOptions& options);
  void write(const IoPoint& point, std::int64_t repetition, const RankMeasurement& row);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
  std::string fixed_;  // fields that are the same in all rows
};

}  // namespace brigade::benchmarks
