// The step is one paragraph: take the next batch, forward, backward (each finished gradient goes to the
// reducer while backward continues), finish the reduction, optimizer step, record.
//
// A rank computes one or several of the global batch's micro-batches. Everything ranks tell each other about them lies
// in one flat array (strategy.hpp); a rank whose batch could not be read fills it with zeros and says so in the status,
// and the step fails on all ranks at once.
#include "step.hpp"

#include <cmath>

#include "brigade/core/error.hpp"
#include "model_update.hpp"

namespace brigade::training {

StepStatus TrainingStep::run(std::int64_t step, float learning_rate, bool boundary, telemetry::StepRow& row) {
  watch_ = Stopwatch();
  row.step = step;
  row.learning_rate = learning_rate;
  row.start_s = now_s() - options_.clock_origin_s;
  const Stopwatch whole_step;
  sent_before_ = strategy_.bytes_sent();

  if (const dataset::Batch* batch = next_batch(row)) forward_backward(*batch, step, row);
  finish_reduction(step, row);
  optimize(step, learning_rate, row);
  settle(step, boundary, row);
  check(step);

  row.sent_bytes = static_cast<std::int64_t>(strategy_.bytes_sent() - sent_before_);
  row.step_s = whole_step.elapsed();
  return status_;
}

TrainingStep::TrainingStep(network::Executor& executor, ops::Backend& backend,
                           communication::Communicator& communicator, dataset::BatchStream& batches,
                           Optimizer& optimizer, MicroBatchSum& sum, Strategy& strategy, const StepOptions& options)
    : executor_(executor),
      backend_(backend),
      communicator_(communicator),
      batches_(batches),
      optimizer_(optimizer),
      running_averages_(executor.statistics_layout()),
      options_(options),
      micro_batch_sum_(sum),
      strategy_(strategy),
      sum_(sum.total()) {}

const dataset::Batch* TrainingStep::next_batch(telemetry::StepRow& row) {
  status_ = {.stop = options_.stop_requested && options_.stop_requested() ? 1.0F : 0.0F};
  const dataset::Batch* batch = nullptr;
  try {
    batch = batches_.next();
    if (batch == nullptr) failure_ = "the stream of training batches has ended";
  } catch (const Error& error) {
    failure_ = error.what();
  }
  row.wait_data_s = watch_.lap();
  if (options_.batch_norm_group != nullptr) agree_on_data();
  if (batch == nullptr) {
    backend_.update(ops::Blend{.keep = 0, .add = 0}, {.x = sum_, .y = sum_});
    status_.failed = 1;
    backend_.upload(&status_, sum_.data, sizeof status_);
  }
  watch_.lap();  // what others take for their batch is in no column but step_s
  return batch;
}

// Since the last lap, but for what the group's other ranks were waited for.
double TrainingStep::own_lap() {
  return watch_.lap() - (options_.batch_norm_group != nullptr ? options_.batch_norm_group->take_waited_s() : 0);
}

void TrainingStep::forward_backward(const dataset::Batch& batch, std::int64_t step, telemetry::StepRow& row) {
  const dataset::Range own = options_.own_micro_batches;
  const std::int64_t n = options_.global_batch / options_.micro_batches;
  const std::int64_t pixels = executor_.graph().input().size();
  for (std::int64_t m = own.begin; m < own.end; ++m) {
    const std::int64_t first = (m - own.begin) * n;
    executor_.forward({.images = batch.images.data() + first * pixels,
                       .labels = batch.labels.data() + first,
                       .n = n,
                       .mixed_labels = batch.mixed_label.empty() ? nullptr : batch.mixed_label.data() + first,
                       .label_share = batch.label_share.empty() ? nullptr : batch.label_share.data() + first,
                       .first_sample = m * n,
                       .step = step});
    put_predictions(m == own.begin);
    row.forward_s += own_lap();

    std::int64_t finished = sum_.shape.size();
    executor_.backward(1.0F / static_cast<float>(strategy_.share().images), [&](std::int64_t offset) {
      const std::int64_t begin = offset == kStatusFloats ? 0 : offset;
      micro_batch_sum_.add(m - own.begin, begin, finished);
      finished = begin;
      if (m + 1 == own.end) strategy_.ready(begin);
    });
    row.backward_s += own_lap();
  }
  row.images = own.size() * n;
}

void TrainingStep::finish_reduction(std::int64_t step, telemetry::StepRow& row) {
  row.reduce_arrive_s = now_s() - options_.clock_origin_s;
  row.hidden_bytes = static_cast<std::int64_t>(strategy_.bytes_sent() - sent_before_);
  strategy_.reduce(fmt::format("the sum of gradients of step {}", step));
  row.staleness = strategy_.staleness();
  backend_.download(sum_.data, &status_, sizeof status_);
  backend_.synchronize();
  row.loss = status_.images > 0 ? status_.loss_sum / static_cast<double>(status_.images) : 0;
  row.reduce_wait_s = watch_.lap();
}

void TrainingStep::settle(std::int64_t step, bool boundary, telemetry::StepRow& row) {
  if (strategy_.meets_after_optimizer()) row.reduce_arrive_s = now_s() - options_.clock_origin_s;
  strategy_.settle(step, boundary, status_);
  row.reduce_wait_s += watch_.lap();
}

void TrainingStep::check(std::int64_t step) const {
  if (status_.failed > 0) agree_on_data();
  if (std::isfinite(status_.loss_sum)) return;
  DivergedError error(
      fmt::format("the loss of step {} is {} (training has diverged). Use a smaller --learning-rate, "
                  "or --warmup-epochs?",
                  step, status_.loss_sum));
  error.on_all_ranks = true;
  throw error;
}

void TrainingStep::agree_on_data() const {
  communication::collectively(communicator_, "reading training data",
                              [&] { require(failure_.empty(), "{}", failure_); });
}

void TrainingStep::optimize(std::int64_t step, float learning_rate, telemetry::StepRow& row) {
  const std::int64_t gradients = executor_.gradients_offset();
  if (!strategy_.take_model())
    update_model(backend_, optimizer_, running_averages_,
                 {.batch_statistics = part_of(sum_, kStatusFloats, gradients),
                  .gradients = part_of(sum_, gradients, sum_.shape.size()),
                  .statistics = executor_.statistics(),
                  .weights = executor_.weights(),
                  .micro_batches = strategy_.share().micro_batches},
                 step, learning_rate);
  backend_.synchronize();
  row.optimizer_s = watch_.lap();
}

// The loss is summed as the gradients are: over the micro-batch here, then with the rest of the array.
void TrainingStep::put_predictions(bool first_of_rank) {
  StepStatus status{.stop = first_of_rank ? status_.stop : 0};
  status.images = static_cast<float>(executor_.loss().size());
  for (const float loss : executor_.loss()) status.loss_sum += loss;
  for (const std::int32_t rank : executor_.label_rank()) status.correct += rank == 0 ? 1.0F : 0.0F;
  backend_.upload(&status, executor_.reduction().data, sizeof status);
}

}  // namespace brigade::training
