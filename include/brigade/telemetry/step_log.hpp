/// The per-rank log of a run: one CSV row a step, units in the column names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace brigade::telemetry {

/// Counters of this process since it was started (from /proc and getrusage).
struct SystemCounters {
  double cpu_user_s = 0, cpu_system_s = 0;
  std::int64_t peak_rss_bytes = 0;
  std::int64_t read_bytes = 0;    ///< from storage (/proc/self/io)
  std::int64_t written_bytes = 0; ///< to storage
  std::int64_t major_faults = 0, involuntary_switches = 0;
};
SystemCounters read_system_counters();

struct StepRow {
  std::int64_t epoch = 0, step = 0;   ///< step counts from the start of training
  double start_s = 0;                 ///< since the start of training, on this rank's clock
  double wait_data_s = 0, forward_s = 0, backward_s = 0, reduce_wait_s = 0, optimizer_s = 0;
  double reduce_arrive_s = 0;         ///< when this rank was ready for the last sum, on the ranks' common clock
  double step_s = 0;                  ///< the whole step
  std::int64_t images = 0;            ///< on this rank
  double loss = 0;                    ///< mean over the global batch
  double learning_rate = 0;
  std::int64_t sent_bytes = 0;        ///< to other ranks, in this step
};

class StepLog {
 public:
  StepLog() = default;  ///< writes nothing
  /// Appends to `directory`/steps-<rank>.csv; rows of step >= first_step of an earlier, interrupted run are
  /// cut off first, so that no step appears twice.
  StepLog(const std::filesystem::path& directory, int rank, std::int64_t first_step);
  /// Buffered; written out every few seconds and at the end. System counters are added here.
  void write(const StepRow& row);
  void flush();

 private:
  std::ofstream out_;
  double last_flush_s_ = 0;
  SystemCounters last_;
};

}  // namespace brigade::telemetry
