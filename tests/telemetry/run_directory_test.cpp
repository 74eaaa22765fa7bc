#include "brigade/telemetry/run_directory.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "brigade/core/atomic_file.hpp"
#include "scratch.hpp"

namespace brigade::telemetry {
namespace {

using RunDirectory = Scratch;

const std::string kHeader =
    "epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,val_top5_accuracy,learning_rate,train_s,val_s,"
    "train_images,val_images\n";

EpochRow epoch_row(std::int64_t epoch) {
  return {.epoch = epoch,
          .step = 469 * epoch,
          .train_loss = 0.5,
          .train_accuracy = 0.8125,
          .learning_rate = 0.001,
          .train_s = 12.25,
          .train_images = 60000};
}

TEST_F(RunDirectory, EpochsLeaveAbsentFieldsEmpty) {
  append_epoch(directory, epoch_row(1));
  EpochRow second = epoch_row(2);
  second.val_loss = 0.25;
  second.val_accuracy = 0.9;
  second.val_top5_accuracy = 1;
  second.val_s = 0.5;
  second.val_images = 10000;
  append_epoch(directory, second);
  EXPECT_EQ(read_file(directory / "epochs.csv"),
            kHeader +
                "1,469,0.5,0.8125,,,,0.001,12.250000,0.000000,60000,0\n"
                "2,938,0.5,0.8125,0.25,0.9,1,0.001,12.250000,0.500000,60000,10000\n");
}

TEST_F(RunDirectory, AResumedEpochReplacesItsRowAndThoseAfter) {
  for (const int epoch : {1, 2, 3}) append_epoch(directory, epoch_row(epoch));
  EpochRow again = epoch_row(2);
  again.train_loss = 0.125;
  append_epoch(directory, again);
  EXPECT_EQ(read_file(directory / "epochs.csv"), kHeader +
                                                     "1,469,0.5,0.8125,,,,0.001,12.250000,0.000000,60000,0\n"
                                                     "2,938,0.125,0.8125,,,,0.001,12.250000,0.000000,60000,0\n");
}

TEST_F(RunDirectory, EpochsOfAnotherVersionOrDamagedAreRefused) {
  for (const std::string& text : {std::string("epoch,apples\n1,2\n"), kHeader + "one,469\n"}) {
    write_file(directory / "epochs.csv", text);
    EXPECT_THROW(append_epoch(directory, epoch_row(2)), DataError);
    EXPECT_EQ(read_file(directory / "epochs.csv"), text);
  }
}

TEST_F(RunDirectory, SummaryHoldsEveryField) {
  write_summary(directory, {.exit_reason = "done",
                            .epochs = 3,
                            .steps = 1407,
                            .train_loss = 0.5,
                            .train_accuracy = 0.75,
                            .val_accuracy = 0.875,
                            .startup_s = 0.25,
                            .train_s = 30,
                            .val_s = 2,
                            .total_s = 33,
                            .images_per_second = 6000,
                            .peak_rss_bytes = 1 << 30,
                            .gradients_by_staleness = {5, 0, 2, 1},
                            .collective_reads = {{40, 38}}});
  const auto expected = nlohmann::json::parse(R"({"schema_version": 1, "exit_reason": "done", "epochs": 3,
    "steps": 1407, "train_loss": 0.5, "train_accuracy": 0.75, "val_loss": null, "val_accuracy": 0.875,
    "val_top5_accuracy": null, "startup_s": 0.25, "train_s": 30.0, "val_s": 2.0, "total_s": 33.0,
    "images_per_second": 6000.0, "peak_rss_bytes": 1073741824,
    "staleness": {"mean": 0.875, "max": 3, "gradients": [5, 0, 2, 1]}, "collective_reads": {"calls": 40, "collective": 38}})");
  EXPECT_EQ(nlohmann::json::parse(read_file(directory / "summary.json")), expected);
  EXPECT_EQ(read_summary(directory).gradients_by_staleness, (std::vector<std::int64_t>{5, 0, 2, 1}));
}

TEST_F(RunDirectory, SummariesAreReadBackEvenOfARunThatDiverged) {
  write_summary(directory, {.exit_reason = "diverged", .steps = 12, .train_loss = NAN, .val_accuracy = 0.875});
  const Summary summary = read_summary(directory);
  EXPECT_EQ(summary.exit_reason, "diverged");
  EXPECT_EQ(summary.steps, 12);
  EXPECT_TRUE(std::isnan(summary.train_loss));
  EXPECT_EQ(summary.val_loss, std::nullopt);
  EXPECT_EQ(summary.val_accuracy, 0.875);
  EXPECT_TRUE(summary.gradients_by_staleness.empty());
  for (const char* text : {"", "[]", "{}", R"({"schema_version": 1, "exit_reason": 7})"}) {
    write_file(directory / "summary.json", text);
    EXPECT_THROW(read_summary(directory), DataError) << text;
  }
}

TEST_F(RunDirectory, RunInfoHoldsOptionsBuildHostsAndOnlyTheEnvironmentThatMatters) {
  setenv("OMP_PLACES", "cores", 1);
  setenv("SLURM_JOB_ID", "42", 1);
  setenv("SLURM_JWT", "a secret", 1);
  write_run_info(directory / "run",
                 {.command_line = "brigade train --epochs 3",
                  .network = "fashion-cnn",
                  .dataset = "d\xff",  // a name that is no UTF-8
                  .backend = "host",
                  .reader = "mmap",
                  .reader_why = "why",
                  .options = {{"epochs", "3"}, {"batch", "64"}},
                  .links = {{.from = 0, .to = 1, .latency_s = 0.25, .bytes_per_s = 1e9}},
                  .sums = {{.bytes = 1820072, .node_memory = true, .between = "ring", .wire = "bf16"}, {.bytes = 44}},
                  .allreduce_table = AllreduceTableInfo{2, 16384, "as shipped", {{8, 65536}}},
                  .ranks = 2,
                  .threads_per_rank = 4,
                  .pinned_processors = {0, 2, 4, 6},
                  .places = {{"worker", "a", "m", "0-3"}, {"worker", "b", "n", "0-3"}, {"server", "b", "n", "4", 0.5}},
                  .parameters = 1199882,
                  .global_batch = 128,
                  .micro_batches = 2,
                  .steps_per_epoch = 468,
                  .process_start_s = 1700000000.5});
  auto json = nlohmann::json::parse(read_file(directory / "run" / "run.json"));
  EXPECT_EQ(json["environment"]["OMP_PLACES"], "cores");
  EXPECT_EQ(json["environment"]["SLURM_JOB_ID"], "42");
  EXPECT_FALSE(json["environment"].contains("SLURM_JWT"));
  EXPECT_FALSE(json["build"]["compiler"].get<std::string>().empty());
  EXPECT_FALSE(json["build"]["version"].get<std::string>().empty());
  json.erase("environment");
  json.erase("build");
  EXPECT_EQ(json, nlohmann::json::parse(R"({"schema_version": 1, "command_line": "brigade train --epochs 3",
    "started": "2023-11-14T22:13:20Z", "process_start_s": 1700000000.5, "network": "fashion-cnn",
    "dataset": "d\ufffd", "backend": "host", "reader": "mmap", "reader_why": "why", "ranks": 2, "threads_per_rank": 4, "pinned_processors": [0, 2, 4, 6], "roles": ["worker", "worker", "server"],
    "hosts": ["a", "b", "b"], "machines": ["m", "n", "n"], "processors": ["0-3", "0-3", "4"],
    "processor_limits": [null, null, 0.5], "links": [{"from": 0, "to": 1, "latency_s": 0.25, "bytes_per_s": 1e9}],
    "parameters": 1199882, "global_batch": 128, "micro_batches": 2, "steps_per_epoch": 468,
    "options": {"batch": "64", "epochs": "3"},
    "sums": [{"bytes": 1820072, "node_memory": true, "between": "ring", "wire": "bf16"},
             {"bytes": 44, "node_memory": false, "between": "", "wire": ""}],
    "allreduce_table": {"nodes": 2, "halving_doubling_up_to_bytes": 16384, "source": "as shipped",
                        "others": [{"nodes": 8, "halving_doubling_up_to_bytes": 65536}]}})"));
  write_run_info(directory / "run", {});  // on one node
  EXPECT_TRUE(nlohmann::json::parse(read_file(directory / "run" / "run.json")).at("allreduce_table").is_null());
}

TEST_F(RunDirectory, AFailureSaysWhoGaveUpWhereAndWhy) {
  const Failure failure{.rank = 3,
                        .host = "node-b",
                        .phase = "training",
                        .step = 17,
                        .time_s = 1700000000.5,
                        .problem = "no answer from rank 1 on host \"a\""};
  write_failure(directory, failure);
  const auto json = nlohmann::json::parse(read_file(directory / "failure-00003.json"));
  EXPECT_EQ(json, nlohmann::json({{"schema_version", 1},
                                  {"time", "2023-11-14T22:13:20Z"},
                                  {"time_s", 1700000000.5},
                                  {"rank", 3},
                                  {"host", "node-b"},
                                  {"phase", "training"},
                                  {"step", 17},
                                  {"problem", "no answer from rank 1 on host \"a\""}}));
}

}  // namespace
}  // namespace brigade::telemetry
