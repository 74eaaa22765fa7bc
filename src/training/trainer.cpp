// The loop around the step: plan, open, (resume,) epochs of steps, validation, logs, checkpoints.
#include "brigade/training/trainer.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "batch_norm_group.hpp"
#include "brigade/communication/parameter_server.hpp"
#include "brigade/communication/probe.hpp"
#include "brigade/communication/require_same.hpp"
#include "brigade/core/atomic_file.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/dataset/batches.hpp"
#include "brigade/telemetry/progress.hpp"
#include "brigade/telemetry/step_log.hpp"
#include "brigade/telemetry/tensorboard.hpp"
#include "brigade/training/checkpoint.hpp"
#include "brigade/training/evaluation.hpp"
#include "parameter_server.hpp"
#include "plan.hpp"
#include "step.hpp"
#include "strategy.hpp"

namespace brigade::training {
namespace fs = std::filesystem;
namespace {

std::atomic<bool> stop_is_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

// Sums over the images of the epoch under way.
struct EpochSums {
  double loss = 0, correct = 0, train_s = 0;
  std::int64_t images = 0;
};

// now_s() of this rank at one moment for all: that at which rank 0 says so.
double common_clock_origin_s(communication::Communicator& communicator) {
  const double offset_s = communication::clock_offset_s(communicator);
  double origin_s = now_s();
  communicator.broadcast(std::as_writable_bytes(std::span(&origin_s, 1)), 0, "agreeing on a clock");
  return origin_s - offset_s;
}

class Trainer {
 public:
  // `communicator`: of the ranks that train; `with_servers`: of these and the parameter servers, if there are any.
  Trainer(const TrainOptions& options, const Plan& plan, ops::Backend& backend,
          communication::Communicator& communicator, communication::Communicator* with_servers = nullptr)
      : options_(options),
        plan_(plan),
        backend_(backend),
        communicator_(communicator),
        speaks_(communicator.rank() == 0),
        batch_norm_group_(options.batch_norm_group > 1
                              ? std::make_unique<RankGroup>(communicator.split(
                                    communicator.rank() / static_cast<int>(options.batch_norm_group)))
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
        optimizer_(plan.optimizer, executor_.parameters(), backend) {
    if (with_servers != nullptr) servers_.emplace(*with_servers, served_array(options, executor_));
  }

  TrainResult run();

 private:
  void make_run_directory();
  void resume();
  void open_data();
  void write_run_info();
  void agree_on_weights();
  std::unique_ptr<Strategy> make_strategy(TensorView array);
  void train_epoch(std::int64_t epoch, TrainingStep& step);
  void end_epoch(std::int64_t epoch);
  void validate(telemetry::EpochRow& row);
  void checkpoint();
  bool stop() const { return stopped_ || step_ == last_step(); }
  // Gradients are summed in place where they can be: on the host, and if all ranks have the same arrays to sum.
  MemoryResource* sum_memory() const {
    const bool alike = plan_.micro_batches % communicator_.size() == 0;
    return alike && &backend_.memory() == &host_memory() ? &communicator_.array_memory() : nullptr;
  }
  std::int64_t last_step() const {
    return options_.max_steps > 0 ? std::min(options_.max_steps, plan_.total_steps) : plan_.total_steps;
  }
  dataset::SplitFiles open(const std::string& split, std::int64_t read_ahead_samples) const;
  dataset::StreamOptions stream_options() const;
  std::unique_ptr<dataset::BatchStream> training_stream() const;
  TrainResult finish();

  const TrainOptions& options_;
  const Plan& plan_;
  ops::Backend& backend_;
  communication::Communicator& communicator_;
  const bool speaks_;  // rank 0 writes the run's files and the progress line
  const std::unique_ptr<RankGroup> batch_norm_group_;
  network::Executor executor_;
  Optimizer optimizer_;  // with parameter servers: holds their state for checkpoints
  std::optional<communication::ServedByOthers> servers_;
  std::optional<dataset::SplitFiles> training_files_, validation_files_;
  std::unique_ptr<Strategy> strategy_;
  telemetry::StepLog step_log_;
  telemetry::TensorBoardWriter tensorboard_;

  std::int64_t step_ = 0;  // steps done
  std::int64_t checkpointed_step_ = -1;
  bool stopped_ = false;
  EpochSums epoch_;
  telemetry::Summary summary_;
  std::int64_t images_ = 0;  // trained on by this process, all ranks
};

dataset::SplitFiles Trainer::open(const std::string& split, std::int64_t read_ahead_samples) const {
  auto reader = options_.reader;
  reader.read_ahead_samples = read_ahead_samples;
  return {options_.dataset, plan_.manifest, split, reader, communicator_, communicator_.node()};
}

void Trainer::open_data() {
  training_files_.emplace(open("train", options_.order.shuffle == dataset::Shuffle::block ? options_.order.block : 1));
  if (plan_.validation_split) validation_files_.emplace(open(*plan_.validation_split, 1));
  if (speaks_ && !training_files_->why().empty())
    fmt::print(stderr, "reader {}: {}\n", name_of(training_files_->mode()), training_files_->why());
}

// As validation sees the images.
dataset::StreamOptions Trainer::stream_options() const {
  return {.prefetch = plan_.prefetch,
          .first = 0,
          .mean = plan_.model.mean,
          .stddev = plan_.model.stddev,
          .augmentation = {},
          .seed = options_.seed,
          .height = plan_.model.height,
          .width = plan_.model.width};
}

std::unique_ptr<dataset::BatchStream> Trainer::training_stream() const {
  dataset::StreamOptions stream = stream_options();
  stream.first = step_;
  stream.augmentation = options_.augmentation;
  std::vector<std::unique_ptr<dataset::SplitReader>> readers;
  for (int i = 0; i < plan_.data_threads; ++i) readers.push_back(training_files_->reader());
  return std::make_unique<dataset::BatchStream>(
      std::move(readers),
      dataset::training_plan(plan_.train_samples, options_.global_batch, plan_.own_share, options_.seed,
                             options_.augmentation.mixup > 0, options_.order),
      stream);
}

void Trainer::make_run_directory() {
  communication::collectively(communicator_, "making the run directory", [&] {
    std::error_code error;
    fs::create_directories(options_.run, error);
    require<OptionError>(!error, "cannot make the run directory {} ({}). Use another --run?", options_.run.string(),
                         error.message());
    require<OptionError>(!speaks_ || options_.resume || !fs::exists(options_.run / "summary.json"),
                         "{} already holds a finished run. Use --resume, or another --run?", options_.run.string());
  });
}

void Trainer::write_run_info() {
  const auto hosts = communicator_.all_gather(host_name(), "gathering host names");
  communication::collectively(communicator_, "writing run.json", [&] {
    if (speaks_)
      telemetry::write_run_info(options_.run, {.command_line = options_.command_line,
                                               .network = options_.network,
                                               .dataset = options_.dataset.string(),
                                               .backend = backend_.description(),
                                               .reader = std::string(name_of(training_files_->mode())),
                                               .reader_why = training_files_->why(),
                                               .options = options_.resolved,
                                               .ranks = communicator_.size(),
                                               .threads_per_rank = backend_.threads(),
                                               .pinned_processors = options_.pinned_processors,
                                               .hosts = hosts,
                                               .parameters = network::parameter_count(plan_.graph),
                                               .global_batch = options_.global_batch,
                                               .micro_batches = plan_.micro_batches,
                                               .steps_per_epoch = plan_.steps_per_epoch,
                                               .process_start_s = process_start_s()});
  });
  if (speaks_) tensorboard_ = telemetry::TensorBoardWriter(options_.run);
}

// Every rank reads the newest checkpoint itself; without one this is a first run.
void Trainer::resume() {
  const auto newest = newest_checkpoint(options_.run / "checkpoints");
  if (!newest) return;
  communication::collectively(communicator_, "reading the checkpoint", [&] {
    const TrainingState state = load_state(*newest);
    for (const auto& [name, value] : identity(plan_, options_)) {
      const auto then = state.identity.find(name);
      require<OptionError>(
          then != state.identity.end() && then->second == value,
          "cannot resume {} with another {} (it was {}, now {}). Use the same options, or another --run?",
          options_.run.string(), name, then == state.identity.end() ? "unset" : then->second, value);
    }
    restore(load_model(*newest), executor_, backend_);
    require(state.optimizer.size() == optimizer_.state_names().size(), "{} holds the state of another optimizer",
            newest->string());
    for (std::size_t i = 0; i < state.optimizer.size(); ++i) {
      const TensorView target = optimizer_.state(i);
      require(state.optimizer[i].values.size() * sizeof(float) == target.bytes(),
              "the optimizer state in {} does not fit the network", newest->string());
      backend_.upload(state.optimizer[i].values.data(), target.data, target.bytes());
    }
    step_ = checkpointed_step_ = state.step;
    epoch_ = {state.epoch_loss_sum, state.epoch_correct, state.epoch_train_s, state.epoch_images};
  });
  if (speaks_) std::fprintf(stderr, "resuming after step %lld of %s\n", static_cast<long long>(step_), newest->c_str());
}

// All ranks draw the same weights; should a rank differ (another binary, a bad memory), rank 0's count.
void Trainer::agree_on_weights() {
  for (const TensorView& flat : {executor_.weights(), executor_.statistics()}) {
    std::vector<std::byte> bytes(flat.bytes());
    backend_.download(flat.data, bytes.data(), bytes.size());
    communicator_.broadcast(bytes, 0, "broadcast of initial weights");
    backend_.upload(bytes.data(), flat.data, bytes.size());
  }
}

std::unique_ptr<Strategy> Trainer::make_strategy(TensorView array) {
  if (options_.strategy != StrategyKind::local_sgd && !servers_)
    return std::make_unique<Synchronous>(
        communicator_, plan_.allreduce, array, executor_, options_.bucket_bytes,
        StepShare{.images = options_.global_batch, .micro_batches = plan_.micro_batches});
  const StepShare own{.images = plan_.own_share.size(), .micro_batches = plan_.own_micro_batches.size()};
  if (servers_)
    return std::make_unique<ServedByServers>(
        *servers_, communicator_, executor_, optimizer_, backend_, array,
        options_.asynchronous ? own : StepShare{.images = options_.global_batch, .micro_batches = plan_.micro_batches},
        options_.asynchronous, step_);
  const float weight = static_cast<float>(own.images) / static_cast<float>(options_.global_batch);
  return std::make_unique<LocalSgd>(communicator_, plan_.allreduce, executor_, optimizer_, backend_, own, weight,
                                    options_.sync_every);
}

TrainResult Trainer::run() {
  make_run_directory();
  if (options_.resume) resume();
  if (stop()) {
    if (speaks_) std::fprintf(stderr, "nothing left to do: %s is finished\n", options_.run.c_str());
    return {ExitCode::done, telemetry::read_summary(options_.run)};
  }
  open_data();
  write_run_info();
  agree_on_weights();
  communication::collectively(communicator_, "opening the step log",
                              [&] { step_log_ = telemetry::StepLog(options_.run, communicator_.rank(), step_); });
  std::unique_ptr<dataset::BatchStream> batches;
  communication::collectively(communicator_, "opening the training data", [&] { batches = training_stream(); });

  communicator_.barrier("the start of training");
  MicroBatchSum sum(backend_, sum_memory() ? *sum_memory() : backend_.memory(), executor_.reduction(),
                    plan_.own_micro_batches.size(), plan_.leaf);
  strategy_ = make_strategy(sum.total());
  TrainingStep step(executor_, backend_, communicator_, *batches, optimizer_, sum, *strategy_,
                    {.global_batch = options_.global_batch,
                     .micro_batches = plan_.micro_batches,
                     .own_micro_batches = plan_.own_micro_batches,
                     .data_first = batch_norm_group_ != nullptr,
                     .batch_norm_momentum = options_.batch_norm_momentum,
                     .clock_origin_s = common_clock_origin_s(communicator_),
                     .stop_requested = [] { return stop_is_requested.load(); }});
  summary_.startup_s = wall_clock_s() - process_start_s();
  while (!stop()) train_epoch(step_ / plan_.steps_per_epoch + 1, step);
  return finish();
}

void Trainer::train_epoch(std::int64_t epoch, TrainingStep& step) {
  const std::int64_t first = (epoch - 1) * plan_.steps_per_epoch;
  telemetry::ProgressLine line(fmt::format("epoch {}/{}", epoch, options_.epochs), "images",
                               plan_.steps_per_epoch * options_.global_batch, speaks_ ? stderr : nullptr);
  const Stopwatch watch;
  const double train_s_before = epoch_.train_s;
  std::string note;
  while (!stop() && step_ < first + plan_.steps_per_epoch) {
    telemetry::StepRow row{.epoch = epoch};
    const bool boundary = step_ + 1 == first + plan_.steps_per_epoch || step_ + 1 == last_step();
    const float rate = learning_rate(plan_.optimizer, step_, plan_.total_steps);
    const StepStatus status = step.run(step_, rate, boundary, row);
    step_log_.write(row);
    ++step_;
    images_ += options_.global_batch;
    epoch_.images += std::llround(status.images);
    epoch_.loss += status.loss_sum;
    epoch_.correct += status.correct;
    epoch_.train_s = train_s_before + watch.elapsed();
    stopped_ = status.stop > 0;
    if (!speaks_) continue;
    tensorboard_.scalar("train/loss", step_, row.loss);
    tensorboard_.scalar("train/learning_rate", step_, row.learning_rate);
    const auto images = static_cast<double>(std::max<std::int64_t>(1, epoch_.images));
    note = fmt::format("loss {:.3f}, accuracy {:.1f} %", epoch_.loss / images, 100 * epoch_.correct / images);
    line.update((step_ - first) * options_.global_batch, note);
  }
  line.finish(note);
  summary_.train_s += watch.elapsed();
  step_log_.flush();
  if (step_ == first + plan_.steps_per_epoch) end_epoch(epoch);
}

void Trainer::end_epoch(std::int64_t epoch) {
  const auto images = static_cast<double>(epoch_.images);
  telemetry::EpochRow row{.epoch = epoch,
                          .step = step_,
                          .train_loss = epoch_.loss / images,
                          .train_accuracy = epoch_.correct / images,
                          .val_loss = {},
                          .val_accuracy = {},
                          .val_top5_accuracy = {},
                          .learning_rate = learning_rate(plan_.optimizer, step_ - 1, plan_.total_steps),
                          .train_s = epoch_.train_s,
                          .train_images = epoch_.images};
  const std::string report = strategy_->report();
  if (speaks_ && !report.empty()) fmt::print(stderr, "  {}\n", report);
  if (plan_.validation_split) validate(row);
  summary_.epochs = epoch;
  summary_.train_loss = row.train_loss;
  summary_.train_accuracy = row.train_accuracy;
  epoch_ = {};
  if (speaks_) {
    telemetry::append_epoch(options_.run, row);
    tensorboard_.scalar("train/epoch_loss", step_, row.train_loss);
    tensorboard_.scalar("train/epoch_accuracy", step_, row.train_accuracy);
    tensorboard_.flush();
  }
  const std::int64_t every = options_.checkpoint_every_epochs;
  if (every > 0 && epoch % every == 0 && !stop()) checkpoint();
}

void Trainer::validate(telemetry::EpochRow& row) {
  const Stopwatch watch;
  const Evaluation result =
      evaluate(executor_, *validation_files_, communicator_,
               {.batch = plan_.micro_batch(), .confusion = false, .worst = 0, .stream = stream_options()});
  row.val_s = watch.elapsed();
  row.val_images = result.samples;
  row.val_loss = summary_.val_loss = result.loss();
  row.val_accuracy = summary_.val_accuracy = result.top1_accuracy();
  row.val_top5_accuracy = summary_.val_top5_accuracy = result.top5_accuracy();
  summary_.val_s += row.val_s;
  if (!speaks_) return;
  std::fprintf(stderr, "  %s: loss %.4f, accuracy %.2f %% of %lld images in %.1f s\n", plan_.validation_split->c_str(),
               *row.val_loss, 100 * *row.val_accuracy, static_cast<long long>(result.samples), row.val_s);
  tensorboard_.scalar("val/loss", step_, *row.val_loss);
  tensorboard_.scalar("val/accuracy", step_, *row.val_accuracy);
  tensorboard_.scalar("val/top5_accuracy", step_, *row.val_top5_accuracy);
}

// All ranks hold the same weights and optimizer state; rank 0 writes them.
void Trainer::checkpoint() {
  if (checkpointed_step_ == step_) return;
  strategy_->fetch_state();
  communication::collectively(communicator_, "writing a checkpoint", [&] {
    if (!speaks_) return;
    TrainingState state{.step = step_,
                        .identity = identity(plan_, options_),
                        .epoch_loss_sum = epoch_.loss,
                        .epoch_correct = epoch_.correct,
                        .epoch_images = epoch_.images,
                        .epoch_train_s = epoch_.train_s,
                        .optimizer = {}};
    for (std::size_t i = 0; i < optimizer_.state_names().size(); ++i) {
      const TensorView flat = optimizer_.state(i);
      state.optimizer.push_back(
          {optimizer_.state_names()[i], flat.shape, std::vector<float>(static_cast<std::size_t>(flat.shape.size()))});
      backend_.download(flat.data, state.optimizer.back().values.data(), flat.bytes());
    }
    save_checkpoint(options_.run / "checkpoints", {snapshot(plan_.model, executor_, backend_), std::move(state)},
                    options_.keep_checkpoints);
  });
  checkpointed_step_ = step_;
}

TrainResult Trainer::finish() {
  checkpoint();
  const bool early = stopped_ && step_ < last_step();
  summary_.exit_reason = early ? "stopped early" : "done";
  summary_.steps = step_;
  if (epoch_.images > 0) {
    summary_.train_loss = epoch_.loss / static_cast<double>(epoch_.images);
    summary_.train_accuracy = epoch_.correct / static_cast<double>(epoch_.images);
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
  if (speaks_) telemetry::write_summary(options_.run, summary_);
  return {early ? ExitCode::stopped_early : ExitCode::done, summary_};
}

// The first `workers` ranks train, the others serve, and all of them end alike. A failure that all workers agree on
// ends their talk with the servers (~ServedByOthers), so servers come here, too; any other ends the job at once.
TrainResult train_with_servers(const TrainOptions& options, const Plan& plan, ops::Backend& backend,
                               communication::Communicator& ranks, int workers) {
  const bool serves = ranks.rank() >= workers;
  communication::Communicator colleagues = ranks.split(serves ? 1 : 0);
  TrainResult result;
  ExitCode failure = ExitCode::done;
  std::string message;
  try {
    if (serves)
      serve(options, plan, backend, ranks);
    else
      result = Trainer(options, plan, backend, colleagues, &ranks).run();
  } catch (const Error& error) {
    if (!error.on_all_ranks) throw;
    failure = error.code();
    message = error.what();
  }
  colleagues = {};  // in good order: not while an error unwinds
  ranks.agree("the end of training", failure, message);
  ranks.broadcast(std::as_writable_bytes(std::span(&result.code, 1)), 0, "the end of training");
  return result;
}

}  // namespace

void request_stop() noexcept { stop_is_requested.store(true); }

TrainResult train(const TrainOptions& options, ops::Backend& backend, communication::Communicator& communicator) {
  const bool served = options.strategy == StrategyKind::parameter_server;
  const int workers = communicator.size() - (served ? options.servers : 0);
  std::optional<Plan> plan;
  communication::collectively(communicator, "planning the run", [&] {
    check_strategy(options, communicator);
    plan = make_plan(options, std::min(communicator.rank(), workers - 1), workers, communicator.node_size());
  });
  communication::require_same(communicator, dataset_facts(*plan, options), ExitCode::bad_data,
                              "Is --dataset the same directory on every node?");
  if (options.dry_run) {
    if (communicator.rank() == 0) fmt::print("{}", describe(*plan, options, workers));
    return {};
  }
  if (served) return train_with_servers(options, *plan, backend, communicator, workers);
  return Trainer(options, *plan, backend, communicator).run();
}

}  // namespace brigade::training
