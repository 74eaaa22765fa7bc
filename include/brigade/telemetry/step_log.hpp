/// The per-rank log of a run: one CSV row a step, units in the column names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "brigade/telemetry/system_counters.hpp"

namespace brigade::telemetry {

struct StepRow {
  std::int64_t epoch = 0, step = 0;  ///< step counts from the start of training
  double start_s = 0;                ///< since the start of training, on this rank's clock
  double wait_data_s = 0, forward_s = 0, backward_s = 0, reduce_wait_s = 0, optimizer_s = 0;
  double reduce_arrive_s = 0;  ///< when this rank was ready for the last sum, on the ranks' common clock
  double step_s = 0;           ///< the whole step
  std::int64_t images = 0;     ///< on this rank
  double loss = 0;             ///< mean over the global batch
  double learning_rate = 0;
  std::int64_t sent_bytes = 0;    ///< to other ranks, in this step
  std::int64_t hidden_bytes = 0;  ///< of these, sent before the end of backward
  std::int64_t staleness = 0;     ///< updates of the weights by others since those this gradient was computed with
};

/// Columns: the fields of StepRow in their order, then what SystemCounters gained since the row before
/// (`cpu_user_s, cpu_system_s, read_bytes, written_bytes, major_faults, involuntary_switches`), then
/// `peak_rss_bytes` as it is. The counters are looked at twice a second at most, to keep a row cheap: in between
/// the gains are 0, and the next row that looks carries them all.
class StepLog {
 public:
  StepLog() = default;  ///< writes nothing
  /// Appends to `directory`/steps-<rank>.csv; rows of step >= first_step of an earlier, interrupted run are
  /// cut off first, so that no step appears twice. Throws DataError if the file cannot be written or has
  /// other columns.
  StepLog(const std::filesystem::path& directory, int rank, std::int64_t first_step);
  StepLog(StepLog&& other) noexcept { swap(other); }
  StepLog& operator=(StepLog&& other) noexcept {
    swap(other);
    return *this;
  }

  /// Whole rows are written out at once. System counters are added here.
  void write(const StepRow& row);

 private:
  void write_out(const std::string& rows);
  void swap(StepLog& other) noexcept;

  std::filesystem::path path_;
  std::ofstream out_;
  double sampled_s_ = 0;
  SystemCounters last_;
};

}  // namespace brigade::telemetry
