#include "brigade/telemetry/step_log.hpp"

#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <utility>

#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"

namespace brigade::telemetry {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kColumns =
    "epoch,step,start_s,wait_data_s,forward_s,backward_s,reduce_wait_s,optimizer_s,reduce_arrive_s,step_s,images,loss,"
    "learning_rate,sent_bytes,hidden_bytes,staleness,cpu_user_s,cpu_system_s,read_bytes,written_bytes,major_faults,"
    "involuntary_"
    "switches,"
    "peak_rss_bytes";
constexpr double kSample_s = 0.5;

// "epoch,step,...": the step, or -1 if the line is no row.
std::int64_t step_of(std::string_view line) {
  const auto comma = line.find(',');
  if (comma == line.npos) return -1;
  std::int64_t step = -1;
  const auto parsed = std::from_chars(line.data() + comma + 1, line.data() + line.size(), step);
  return parsed.ec == std::errc() && parsed.ptr != line.data() + line.size() && *parsed.ptr == ',' ? step : -1;
}

// How many bytes of an earlier log are to be kept: the header and the whole rows before `first_step`.
std::uintmax_t bytes_to_keep(const fs::path& path, std::int64_t first_step) {
  std::ifstream in(path, std::ios::binary);
  std::string line;
  std::uintmax_t kept = 0;
  for (bool header = true; std::getline(in, line) && !in.eof(); header = false) {  // eof: no newline, a cut row
    if (header)
      require(line == kColumns, "{} has other columns (another version wrote it). Use another run directory?",
              path.string());
    else if (const auto step = step_of(line); step < 0 || step >= first_step)
      break;
    kept += line.size() + 1;
  }
  return kept;
}

}  // namespace

StepLog::StepLog(const fs::path& directory, int rank, std::int64_t first_step) {
  fs::create_directories(directory);
  path_ = directory / fmt::format("steps-{:05}.csv", rank);
  std::uintmax_t kept = 0;
  if (fs::exists(path_)) {
    kept = bytes_to_keep(path_, first_step);
    fs::resize_file(path_, kept);
  }
  out_.open(path_, std::ios::binary | std::ios::app);
  require(out_.good(), "cannot write {}. Does the run directory belong to somebody else?", path_.string());
  last_ = read_system_counters();
  sampled_s_ = now_s();
  if (kept == 0) write_out(fmt::format("{}\n", kColumns));
}

void StepLog::swap(StepLog& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(out_, other.out_);
  std::swap(sampled_s_, other.sampled_s_);
  std::swap(last_, other.last_);
}

void StepLog::write(const StepRow& row) {
  if (!out_.is_open()) return;
  const double now = now_s();
  SystemCounters counters = last_;
  if (now - sampled_s_ >= kSample_s) {
    counters = read_system_counters();
    sampled_s_ = now;
  }
  std::string text;
  fmt::format_to(std::back_inserter(text),
                 "{},{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{},{:.9g},{:.9g},{},{},{},", row.epoch,
                 row.step, row.start_s, row.wait_data_s, row.forward_s, row.backward_s, row.reduce_wait_s,
                 row.optimizer_s, row.reduce_arrive_s, row.step_s, row.images, row.loss, row.learning_rate,
                 row.sent_bytes, row.hidden_bytes, row.staleness);
  fmt::format_to(std::back_inserter(text), "{:.6f},{:.6f},{},{},{},{},{}\n", counters.cpu_user_s - last_.cpu_user_s,
                 counters.cpu_system_s - last_.cpu_system_s, counters.read_bytes - last_.read_bytes,
                 counters.written_bytes - last_.written_bytes, counters.major_faults - last_.major_faults,
                 counters.involuntary_switches - last_.involuntary_switches, counters.peak_rss_bytes);
  last_ = counters;
  write_out(text);
}

// At once, some 2 us: a rank that is killed has lost no row. Whole rows only, so that a reader of a live run never sees
// half of one.
void StepLog::write_out(const std::string& rows) {
  out_ << rows << std::flush;
  require(out_.good(), "cannot write {}. Is the disk full?", path_.string());
}

}  // namespace brigade::telemetry
