#include "brigade/telemetry/step_log.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/clock.hpp"
#include "scratch.hpp"

namespace brigade::telemetry {
namespace {

using StepLogFile = Scratch;

const std::string kHeader =
    "epoch,step,start_s,wait_data_s,forward_s,backward_s,reduce_wait_s,optimizer_s,reduce_arrive_s,step_s,images,loss,"
    "learning_rate,sent_bytes,hidden_bytes,staleness,cpu_user_s,cpu_system_s,read_bytes,written_bytes,major_faults,"
    "involuntary_switches,"
    "peak_rss_bytes";

StepRow row_of(std::int64_t step) {
  return {.epoch = 1,
          .step = step,
          .start_s = 0.5,
          .wait_data_s = 0.25,
          .forward_s = 1e-6,
          .backward_s = 2,
          .reduce_wait_s = 0,
          .optimizer_s = 0.125,
          .reduce_arrive_s = 12.5,
          .step_s = 3,
          .images = 64,
          .loss = 2.302585092994046,
          .learning_rate = 0.01,
          .sent_bytes = 1234567,
          .hidden_bytes = 7654,
          .staleness = 3};
}

// A row without the system counters, which nobody can predict: but their number.
std::string predictable(const std::string& row) {
  std::size_t at = row.size();
  for (int counter = 0; counter < 7; ++counter) at = row.rfind(',', at - 1);
  return row.substr(0, at);
}
std::string expected_row(std::int64_t step) {
  return fmt::format(
      "1,{},0.500000,0.250000,0.000001,2.000000,0.000000,0.125000,12.500000,3.000000,64,2.30258509,0.01,1234567,7654,3",
      step);
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  const std::string text = read_file(path);
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  EXPECT_TRUE(text.empty() || text.back() == '\n');
  return lines;
}

void write_steps(StepLog log, std::int64_t first, std::int64_t last) {
  for (auto step = first; step <= last; ++step) log.write(row_of(step));
}

TEST_F(StepLogFile, HoldsTheHeaderAndARowAStep) {
  write_steps(StepLog(directory, 7, 0), 0, 1);
  const auto lines = lines_of(directory / "steps-00007.csv");
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0], kHeader);
  EXPECT_EQ(predictable(lines[1]), expected_row(0));
  EXPECT_EQ(predictable(lines[2]), expected_row(1));
  EXPECT_EQ(std::count(lines[1].begin(), lines[1].end(), ','), std::count(kHeader.begin(), kHeader.end(), ','));
}

TEST_F(StepLogFile, LosesTheRowsThatAResumedRunWritesAgain) {
  struct Case {
    std::int64_t first_step, kept;
  };
  for (const auto [first_step, kept] : {Case{0, 0}, Case{3, 3}, Case{9, 5}}) {
    std::filesystem::remove(directory / "steps-00000.csv");
    write_steps(StepLog(directory, 0, 0), 0, 4);
    write_steps(StepLog(directory, 0, first_step), first_step, first_step);
    const auto lines = lines_of(directory / "steps-00000.csv");
    ASSERT_EQ(std::ssize(lines), 1 + kept + 1) << "first_step " << first_step;
    EXPECT_EQ(lines[0], kHeader);
    for (std::int64_t step = 0; step < kept; ++step)
      EXPECT_EQ(predictable(lines[static_cast<std::size_t>(step) + 1]), expected_row(step));
    EXPECT_EQ(predictable(lines.back()), expected_row(first_step));
  }
}

TEST_F(StepLogFile, LosesARowThatWasCutInHalf) {
  const auto path = directory / "steps-00000.csv";
  write_steps(StepLog(directory, 0, 0), 0, 2);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  write_steps(StepLog(directory, 0, 3), 3, 3);
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(predictable(lines[2]), expected_row(1));
  EXPECT_EQ(predictable(lines[3]), expected_row(3));
}

TEST_F(StepLogFile, RefusesAnotherVersionsColumns) {
  write_file(directory / "steps-00000.csv", "epoch,step,apples\n1,0,3\n");
  EXPECT_THROW(StepLog(directory, 0, 1), DataError);
}

TEST_F(StepLogFile, ShowsRowsOfARunThatGoesOn) {
  StepLog log(directory, 0, 0);
  log.write(row_of(0));
  EXPECT_EQ(lines_of(directory / "steps-00000.csv").size(), 2U);
}

TEST_F(StepLogFile, CarriesWhatTheSystemCountersGained) {
  {
    StepLog log(directory, 0, 0);
    const double until_s = now_s() + 0.6;  // past the sampling interval, on the processor
    while (now_s() < until_s) {
    }
    log.write(row_of(0));
    log.write(row_of(1));
  }
  const auto lines = lines_of(directory / "steps-00000.csv");
  ASSERT_EQ(lines.size(), 3U);
  const auto counter = [&](std::size_t line, int from_end) {
    std::string text = lines[line];
    for (int i = 0; i < from_end; ++i) text.resize(text.rfind(','));
    return std::stod(text.substr(text.rfind(',') + 1));
  };
  EXPECT_GT(counter(1, 6) + counter(1, 5), 0.1);  // processor seconds
  EXPECT_EQ(counter(2, 6) + counter(2, 5), 0);    // too soon to look again
  EXPECT_GT(counter(1, 0), 1e6);                  // peak memory, absolute
  EXPECT_EQ(counter(2, 0), counter(1, 0));
}

TEST(StepLog, OfNothingWritesNothing) {
  StepLog log;
  log.write(row_of(0));
}

TEST(SystemCounters, GrowWithWork) {
  const auto before = read_system_counters();
  const double until_s = now_s() + 0.05;
  while (now_s() < until_s) {
  }
  const auto after = read_system_counters();
  EXPECT_GT(after.cpu_user_s + after.cpu_system_s, before.cpu_user_s + before.cpu_system_s);
  EXPECT_GT(after.peak_rss_bytes, 1 << 20);
}

}  // namespace
}  // namespace brigade::telemetry
