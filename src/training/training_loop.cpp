#include "training_loop.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <set>

#include "brigade/core/clock.hpp"
#include "brigade/telemetry/progress.hpp"
#include "parameter_server.hpp"
#include "traffic.hpp"

namespace brigade::training {
namespace fs = std::filesystem;
namespace {

// now_s() of rank 0 at one moment for all.
double agreed_origin_s(communication::Communicator& communicator) {
  double origin_s = now_s();
  communicator.broadcast(std::as_writable_bytes(std::span(&origin_s, 1)), 0, "agreeing on a clock");
  return origin_s;
}

// "0.99"; of layers that differ, all: "0.9 0.99".
std::string momenta_of(const std::vector<network::FlatTensor>& running_averages) {
  std::set<float> momenta;
  for (const auto& average : running_averages) momenta.insert(average.momentum);
  return fmt::format("{}", fmt::join(momenta, " "));
}

}  // namespace

TrainingLoop::TrainingLoop(const TrainOptions& options, const Plan& plan, ops::Backend& backend,
                           communication::Communicator& communicator, const Job& job,
                           communication::Communicator* with_servers)
    : options_(options),
      plan_(plan),
      backend_(backend),
      communicator_(communicator),
      job_(job),
      speaks_(communicator.rank() == 0),
      batch_norm_group_(options.batch_norm_group > 1
                            ? std::make_unique<RankGroup>(
                                  communicator.split(communicator.rank() / static_cast<int>(options.batch_norm_group)))
                            : nullptr),
      executor_(plan.graph, backend,
                {.max_batch = plan.micro_batch(),
                 .training = true,
                 .reduction_header = kStatusFloats,
                 .reduction_memory = sum_memory(),
                 .seed = options.seed,
                 .label_smoothing = static_cast<float>(options.augmentation.label_smoothing),
                 .precision = options.precision,
                 .batch_norm_group = batch_norm_group_.get()}),
      optimizer_(plan.optimizer, executor_.parameters(), backend),
      checkpoints_(options, plan, executor_, optimizer_, backend, communicator) {
  if (with_servers != nullptr) servers_.emplace(*with_servers, served_array(options, executor_));
  communicator_.set_last_words([words = job.last_words](const std::string& problem) { words->say(problem); });
}

void TrainingLoop::make_run_directory() {
  communication::collectively(communicator_, "making the run directory", [&] {
    std::error_code error;
    fs::create_directories(options_.run, error);
    require<OptionError>(!error, "cannot make the run directory {} ({}). Use another --run?", options_.run.string(),
                         error.message());
    require<OptionError>(!speaks_ || options_.resume || !fs::exists(options_.run / "summary.json"),
                         "{} already holds a finished run. Use --resume, or another --run?", options_.run.string());
  });
}

void TrainingLoop::write_run_info() {
  if (!options_.tune_buckets)
    logged_options_["bucket"] = std::to_string(bucket_bytes_of(options_, executor_.reduction().bytes()));
  if (network::statistics_count(plan_.graph) > 0)
    logged_options_["batch-norm-momentum"] = momenta_of(executor_.statistics_layout());
  communication::collectively(communicator_, "writing run.json", [&] {
    if (speaks_)
      telemetry::write_run_info(options_.run, {.command_line = options_.command_line,
                                               .network = options_.network,
                                               .dataset = options_.dataset.string(),
                                               .backend = backend_.description(),
                                               .reader = std::string(name_of(data_->training_files().mode())),
                                               .reader_why = data_->training_files().why(),
                                               .options = logged_options_,
                                               .links = options_.links,
                                               .sums = described_sums(),
                                               .allreduce_table = allreduce_table_of(plan_, options_, communicator_),
                                               .ranks = communicator_.size(),
                                               .threads_per_rank = backend_.threads(),
                                               .pinned_processors = options_.pinned_processors,
                                               .places = job_.places,
                                               .parameters = network::parameter_count(plan_.graph),
                                               .global_batch = options_.global_batch,
                                               .micro_batches = plan_.micro_batches,
                                               .steps_per_epoch = plan_.steps_per_epoch,
                                               .process_start_s = process_start_s()});
  });
}

std::vector<telemetry::SumInfo> TrainingLoop::described_sums() const {
  std::vector<telemetry::SumInfo> sums;
  for (const std::size_t bytes : strategy_->summed_bytes()) {
    const auto route = communication::route_of(communicator_, bytes, plan_.allreduce);
    sums.push_back({.bytes = static_cast<std::int64_t>(bytes),
                    .node_memory = route.node_memory,
                    .between = std::string(route.between ? communication::name_of(*route.between) : ""),
                    .wire = std::string(route.between ? communication::name_of(route.wire) : "")});
  }
  return sums;
}

// On all ranks at the same step.
void TrainingLoop::log_bucket(std::size_t bytes, const std::string& why) {
  logged_options_["bucket"] = std::to_string(bytes);
  logged_options_["bucket-why"] = why;
  write_run_info();
  if (speaks_) fmt::print(stderr, "  {}\n", why);
}

// All ranks draw the same weights; should a rank differ (another binary, a bad memory), rank 0's count.
void TrainingLoop::agree_on_weights() {
  for (const TensorView& flat : {executor_.weights(), executor_.statistics()}) {
    std::vector<std::byte> bytes(flat.bytes());
    backend_.download(flat.data, bytes.data(), bytes.size());
    communicator_.broadcast(bytes, 0, "broadcast of initial weights");
    backend_.upload(bytes.data(), flat.data, bytes.size());
  }
}

std::unique_ptr<Strategy> TrainingLoop::make_strategy(TensorView array, double clock_origin_s) {
  if (options_.strategy != StrategyKind::local_sgd && !servers_)
    return std::make_unique<Synchronous>(
        communicator_, plan_.allreduce, array, executor_,
        options_.tune_buckets ? 0 : bucket_bytes_of(options_, array.bytes()),
        StepShare{.images = options_.global_batch, .micro_batches = plan_.micro_batches},
        [this](std::size_t bytes, const std::string& why) { log_bucket(bytes, why); });
  const StepShare own{.images = plan_.own_share.size(), .micro_batches = plan_.own_micro_batches.size()};
  if (servers_)
    return std::make_unique<ServedByServers>(
        *servers_, communicator_, executor_, optimizer_, backend_, array,
        options_.asynchronous ? own : StepShare{.images = options_.global_batch, .micro_batches = plan_.micro_batches},
        options_.asynchronous, progress_.step, clock_origin_s);
  const float weight = static_cast<float>(own.images) / static_cast<float>(options_.global_batch);
  return std::make_unique<LocalSgd>(communicator_, plan_.allreduce, executor_, optimizer_, backend_, own, weight,
                                    options_.sync_every);
}

TrainResult TrainingLoop::run() {
  make_run_directory();
  if (options_.resume) progress_ = checkpoints_.resume();
  if (stop()) {
    if (speaks_) fmt::print(stderr, "nothing left to do: {} is finished\n", options_.run.string());
    return {ExitCode::done, telemetry::read_summary(options_.run)};
  }
  open_data();
  if (speaks_) tensorboard_ = telemetry::TensorBoardWriter(options_.run);
  agree_on_weights();
  communication::collectively(communicator_, "opening the step log", [&] {
    step_log_ = telemetry::StepLog(options_.run, communicator_.rank(), progress_.step);
  });
  train_epochs();
  return finish();
}

void TrainingLoop::open_data() {
  data_.emplace(options_, plan_, communicator_);
  const std::string& why = data_->training_files().why();
  if (speaks_ && !why.empty()) fmt::print(stderr, "reader {}: {}\n", name_of(data_->training_files().mode()), why);
}

void TrainingLoop::train_epochs() {
  std::unique_ptr<dataset::BatchStream> batches;
  communication::collectively(communicator_, "opening the training data",
                              [&] { batches = data_->training_stream(progress_.step); });
  communicator_.barrier("the start of training");
  sum_.emplace(backend_, sum_memory() ? *sum_memory() : backend_.memory(), executor_.reduction(),
               plan_.own_micro_batches.size(), plan_.leaf);
  const double origin_s = agreed_origin_s(communicator_);
  strategy_ = make_strategy(sum_->total(), origin_s);
  write_run_info();
  TrainingStep step(executor_, backend_, communicator_, *batches, optimizer_, *sum_, *strategy_,
                    {.global_batch = options_.global_batch,
                     .micro_batches = plan_.micro_batches,
                     .own_micro_batches = plan_.own_micro_batches,
                     .batch_norm_group = batch_norm_group_.get(),
                     .clock_origin_s = origin_s - job_.clock_offset_s,
                     .stop_requested = stop_requested});
  summary_.startup_s = wall_clock_s() - process_start_s();
  while (!stop()) train_epoch(progress_.step / plan_.steps_per_epoch + 1, step);
  if (data_->training_files().mode() == dataset::ReaderMode::collective) {
    const dataset::CollectiveReads reads = batches->collective_reads();
    summary_.collective_reads = {reads.calls, reads.collective};
  }
}

void TrainingLoop::train_epoch(std::int64_t epoch, TrainingStep& step) {
  const std::int64_t first = (epoch - 1) * plan_.steps_per_epoch, end = first + plan_.steps_per_epoch;
  telemetry::ProgressLine line(fmt::format("epoch {}/{}", epoch, options_.epochs), "images",
                               plan_.steps_per_epoch * options_.global_batch, speaks_ ? stderr : nullptr);
  const Stopwatch watch;
  const double train_s_before = progress_.epoch.train_s;
  std::string note;
  while (!stop() && progress_.step < end) {
    telemetry::StepRow row{.epoch = epoch};
    const bool boundary = progress_.step + 1 == end || progress_.step + 1 == last_step();
    const float rate = learning_rate(plan_.optimizer, progress_.step, plan_.total_steps);
    job_.last_words->now_in("training", progress_.step);
    const StepStatus status = step.run(progress_.step, rate, boundary, row);
    step_log_.write(row);
    count(status, row.staleness);
    progress_.epoch.train_s = train_s_before + watch.elapsed();
    if (!speaks_) continue;
    tensorboard_.scalar("train/loss", progress_.step, row.loss);
    tensorboard_.scalar("train/learning_rate", progress_.step, row.learning_rate);
    const EpochSums& sums = progress_.epoch;
    const auto images = static_cast<double>(std::max<std::int64_t>(1, sums.images));
    note = fmt::format("loss {:.3f}, accuracy {:.1f} %", sums.loss / images, 100 * sums.correct / images);
    line.update((progress_.step - first) * options_.global_batch, note);
  }
  line.finish(note);
  summary_.train_s += watch.elapsed();
  if (progress_.step == end) end_epoch(epoch);
}

void TrainingLoop::count(const StepStatus& status, std::int64_t staleness) {
  ++progress_.step;
  images_ += options_.global_batch;
  progress_.epoch.images += std::llround(status.images);
  progress_.epoch.loss += status.loss_sum;
  progress_.epoch.correct += status.correct;
  stopped_ = status.stop > 0;
  if (!options_.asynchronous) return;
  auto& gradients = summary_.gradients_by_staleness;
  gradients.resize(std::max(gradients.size(), static_cast<std::size_t>(staleness) + 1));
  ++gradients[static_cast<std::size_t>(staleness)];
}

void TrainingLoop::gather_staleness() {
  auto& gradients = summary_.gradients_by_staleness;
  gradients.resize(static_cast<std::size_t>(-communicator_.minimum(-std::ssize(gradients), "gathering the summary")));
  communicator_.sum(gradients, "gathering the summary");
}

void TrainingLoop::end_epoch(std::int64_t epoch) {
  const auto images = static_cast<double>(progress_.epoch.images);
  telemetry::EpochRow row{.epoch = epoch,
                          .step = progress_.step,
                          .train_loss = progress_.epoch.loss / images,
                          .train_accuracy = progress_.epoch.correct / images,
                          .val_loss = {},
                          .val_accuracy = {},
                          .val_top5_accuracy = {},
                          .learning_rate = learning_rate(plan_.optimizer, progress_.step - 1, plan_.total_steps),
                          .train_s = progress_.epoch.train_s,
                          .train_images = progress_.epoch.images};
  const std::string report = strategy_->report();
  if (speaks_ && !report.empty()) fmt::print(stderr, "  {}\n", report);
  if (plan_.validation_split) validate(row);
  summary_.epochs = epoch;
  summary_.train_loss = row.train_loss;
  summary_.train_accuracy = row.train_accuracy;
  progress_.epoch = {};
  if (speaks_) {
    telemetry::append_epoch(options_.run, row);
    tensorboard_.scalar("train/epoch_loss", progress_.step, row.train_loss);
    tensorboard_.scalar("train/epoch_accuracy", progress_.step, row.train_accuracy);
    tensorboard_.flush();
  }
  const std::int64_t every = options_.checkpoint_every_epochs;
  if (every > 0 && epoch % every == 0 && !stop()) checkpoint();
}

void TrainingLoop::validate(telemetry::EpochRow& row) {
  job_.last_words->now_in("validation", progress_.step);
  const Stopwatch watch;
  const Evaluation result = data_->validate(executor_);
  row.val_s = watch.elapsed();
  row.val_images = result.samples;
  row.val_loss = summary_.val_loss = result.loss();
  row.val_accuracy = summary_.val_accuracy = result.top1_accuracy();
  row.val_top5_accuracy = summary_.val_top5_accuracy = result.top5_accuracy();
  summary_.val_s += row.val_s;
  if (!speaks_) return;
  std::fprintf(stderr, "  %s: loss %.4f, accuracy %.2f %% of %lld images in %.1f s\n", plan_.validation_split->c_str(),
               *row.val_loss, 100 * *row.val_accuracy, static_cast<long long>(result.samples), row.val_s);
  tensorboard_.scalar("val/loss", progress_.step, *row.val_loss);
  tensorboard_.scalar("val/accuracy", progress_.step, *row.val_accuracy);
  tensorboard_.scalar("val/top5_accuracy", progress_.step, *row.val_top5_accuracy);
}

void TrainingLoop::checkpoint() {
  if (checkpoints_.saved_step() == progress_.step) return;
  job_.last_words->now_in("checkpoint", progress_.step);
  strategy_->fetch_state();
  checkpoints_.save(progress_);
}

TrainResult TrainingLoop::finish() {
  checkpoint();
  job_.last_words->now_in("end", progress_.step);
  const bool early = stopped_ && progress_.step < last_step();
  summary_.exit_reason = early ? "stopped early" : "done";
  summary_.steps = progress_.step;
  if (progress_.epoch.images > 0) {
    summary_.train_loss = progress_.epoch.loss / static_cast<double>(progress_.epoch.images);
    summary_.train_accuracy = progress_.epoch.correct / static_cast<double>(progress_.epoch.images);
  }
  summary_.images_per_second = summary_.train_s > 0 ? static_cast<double>(images_) / summary_.train_s : 0;
  summary_.total_s = wall_clock_s() - process_start_s();
  const auto rss = telemetry::read_system_counters().peak_rss_bytes;
  for (const auto& text :
       communicator_.all_gather(fmt::format("{} {}", summary_.startup_s, rss), "gathering the summary")) {
    double startup_s = 0;
    long long bytes = 0;
    std::sscanf(text.c_str(), "%lf %lld", &startup_s, &bytes);
    summary_.startup_s = std::max(summary_.startup_s, startup_s);
    summary_.peak_rss_bytes = std::max<std::int64_t>(summary_.peak_rss_bytes, bytes);
  }
  if (options_.asynchronous) gather_staleness();
  if (speaks_) telemetry::write_summary(options_.run, summary_);
  return {early ? ExitCode::stopped_early : ExitCode::done, summary_};
}

}  // namespace brigade::training
