// A server's rows in the step log (docs/formats.md): one for each update of its weights.
//
//     start_s |..waits for pushes..| reduce_arrive_s |==adds and updates==|--answers--| start_s of the next row
//             '---reduce_wait_s----'                 '----optimizer_s-----'
#pragma once

#include <cstdint>
#include <filesystem>

#include "brigade/core/clock.hpp"
#include "brigade/telemetry/step_log.hpp"

namespace brigade::training {

class UpdateLog {
 public:
  struct Update {
    std::int64_t number = 0, epoch = 0;  // updates from 0, epochs from 1
    double loss = 0;                     // of the gradients' images; NaN: another server knows
    double learning_rate = 0;
    std::int64_t staleness = 0, sent_bytes = 0;
  };

  UpdateLog() = default;  // writes nothing
  // Rows of updates from `first` on go to steps-<rank>.csv of `run`; times count from `clock_origin_s`, of now_s() of
  // this rank. Throws DataError.
  UpdateLog(const std::filesystem::path& run, int rank, std::int64_t first, double clock_origin_s);

  void push_arrived();  // for the update at hand
  void updated();       // the weights are
  void answered(const Update& update);

 private:
  telemetry::StepLog log_;
  double clock_origin_s_ = 0;
  telemetry::StepRow row_;
  Stopwatch phase_, whole_;
};

}  // namespace brigade::training
