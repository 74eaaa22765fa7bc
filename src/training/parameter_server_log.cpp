#include "parameter_server_log.hpp"

namespace brigade::training {

UpdateLog::UpdateLog(const std::filesystem::path& run, int rank, std::int64_t first, double clock_origin_s)
    : log_(run, rank, first), clock_origin_s_(clock_origin_s) {
  row_.start_s = now_s() - clock_origin_s_;
}

void UpdateLog::push_arrived() {
  row_.reduce_arrive_s = now_s() - clock_origin_s_;
  row_.reduce_wait_s += phase_.lap();
}

void UpdateLog::updated() { row_.optimizer_s = phase_.lap(); }

void UpdateLog::answered(const Update& update) {
  row_.step = update.number;
  row_.epoch = update.epoch;
  row_.loss = update.loss;
  row_.learning_rate = update.learning_rate;
  row_.staleness = update.staleness;
  row_.sent_bytes = update.sent_bytes;
  row_.step_s = whole_.lap();
  log_.write(row_);
  row_ = {.start_s = now_s() - clock_origin_s_};
  phase_.lap();
}

}  // namespace brigade::training
