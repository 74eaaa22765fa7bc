#include "parameter_server.hpp"

#include <algorithm>
#include <cmath>

#include "bucket_tuning.hpp"

namespace brigade::training {

communication::ServedArray served_array(const TrainOptions& options, const network::Executor& executor) {
  const std::int64_t floats = executor.gradients_offset() + parameter_floats(executor.parameters());
  require<OptionError>(floats / options.servers > kStatusFloats, "--servers {} are too many for {} numbers. Use fewer?",
                       options.servers, floats);
  const auto all = static_cast<std::size_t>(floats);
  return {.servers = options.servers, .floats = all, .piece_bytes = bucket_bytes_of(options, all * sizeof(float))};
}

ServedByServers::ServedByServers(communication::ServedByOthers& servers, communication::Communicator& workers,
                                 network::Executor& executor, Optimizer& optimizer, ops::Backend& backend,
                                 TensorView array, StepShare share, bool asynchronous, std::int64_t first_step,
                                 double clock_origin_s)
    : servers_(servers),
      workers_(workers),
      executor_(executor),
      optimizer_(optimizer),
      backend_(backend),
      array_(array),
      share_(share),
      asynchronous_(asynchronous),
      step_(first_step),
      clock_origin_ns_(std::llround(1e9 * clock_origin_s)) {
  if (workers_.rank() == 0) load();
  workers_.barrier("servers get the model");
}

void ServedByServers::copy(const TensorView& from, const TensorView& to) {
  if (from.shape.size() > 0) backend_.update(ops::Blend{.keep = 0, .add = 1}, {.x = from, .y = to});
}

communication::Note ServedByServers::exchange(Ask ask, std::int64_t number, std::string_view what) {
  backend_.synchronize();
  return servers_.pull({static_cast<std::int64_t>(ask), number, clock_origin_ns_},
                       {array_.f32(), static_cast<std::size_t>(array_.shape.size())}, what);
}

void ServedByServers::load() {
  copy(executor_.statistics(), pulled_statistics());
  copy(executor_.weights(), pulled_weights());
  exchange(Ask::load_model, step_, "servers get the model");
  for (std::size_t i = 0; i < optimizer_.state_names().size(); ++i) {
    copy(optimizer_.state(i), pulled_weights());
    exchange(Ask::load_state, static_cast<std::int64_t>(i), "servers get the optimizer's state");
  }
}

void ServedByServers::ready(std::int64_t offset) {
  if (offset == 0) return;  // with the rest, once backward is over
  servers_.push({static_cast<std::int64_t>(Ask::step), step_, clock_origin_ns_},
                {array_.f32(), static_cast<std::size_t>(array_.shape.size())}, static_cast<std::size_t>(offset));
}

void ServedByServers::reduce(std::string_view what) {
  const communication::Note answer = exchange(Ask::step, step_, what);
  staleness_ = answer[0];
  stale_updates_ += staleness_;
  most_stale_ = std::max(most_stale_, staleness_);
  ++pushes_;
  stop_at_ = answer[1];
  ++step_;
}

bool ServedByServers::take_model() {
  copy(pulled_statistics(), executor_.statistics());
  copy(pulled_weights(), executor_.weights());
  return true;
}

// Synchronous workers always know the same. Others meet at boundaries, and where one of them wants to stop.
void ServedByServers::settle(std::int64_t step, bool boundary, StepStatus& status) {
  if (!asynchronous_) return;
  since_ += status;
  status = {};
  if (!boundary && step + 1 < stop_at_) return;
  workers_.barrier("workers meet");
  exchange(Ask::model, 0, "the model that all workers have made");
  take_model();
  std::vector<double> all{since_.loss_sum, since_.correct, since_.failed, since_.stop, since_.images};
  workers_.sum(std::span(all), "what workers did since they last met");
  status = {.loss_sum = static_cast<float>(all[0]),
            .correct = static_cast<float>(all[1]),
            .failed = static_cast<float>(all[2]),
            .stop = static_cast<float>(all[3]),
            .images = static_cast<float>(all[4])};
  since_ = {};
}

std::string ServedByServers::report() {
  if (!asynchronous_ || pushes_ == 0) return {};
  const std::string text = fmt::format("gradients of rank {} were {:.2f} updates stale, at most {}", workers_.rank(),
                                       static_cast<double>(stale_updates_) / static_cast<double>(pushes_), most_stale_);
  stale_updates_ = most_stale_ = pushes_ = 0;
  return text;
}

void ServedByServers::fetch_state() {
  if (workers_.rank() != 0) return;
  for (std::size_t i = 0; i < optimizer_.state_names().size(); ++i) {
    exchange(Ask::state, static_cast<std::int64_t>(i), "the servers' optimizer state");
    copy(pulled_weights(), optimizer_.state(i));
  }
  backend_.synchronize();
}

}  // namespace brigade::training
