#include "brigade/training/trainer.hpp"

#include "allreduce_table.hpp"
#include "backend_options.hpp"
#include "brigade/communication/require_same.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "preflight.hpp"
#include "reader_options.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

using communication::Algorithm;
using communication::Wire;
using training::OptimizerKind;
using training::ScheduleKind;
using training::StrategyKind;

struct TrainCommand {
  bool preflight = false;
  double hang_timeout_s = 300;
  std::filesystem::path allreduce_table;
  training::TrainOptions train;
  BackendOptions backend;
};

void declare_run(Options& options, TrainCommand& command) {
  auto& t = command.train;
  options.section("The run")
      .required("dataset", t.dataset, "DIR: made by `brigade shard`")
      .required("run", t.run, "DIR: for logs, checkpoints and summary; made if missing")
      .flag("resume", t.resume, "continue from the newest checkpoint in --run; harmless on a first run")
      .flag("dry-run", t.dry_run, "print the plan (memory, traffic, steps) and exit")
      .flag("preflight", command.preflight,
            "first measure arithmetic, memory and links of all ranks (seconds), and name those far from the others and "
            "ranks "
            "with fewer processors than threads")
      .add("hang-timeout", command.hang_timeout_s,
           "seconds a rank waits for the others before it names who is missing and the job ends (exit code 5)")
      .add("seed", t.seed, "of weights, sample order and dropout")
      .add("validation-split", t.validation_split, "evaluated after each epoch; auto: val, else test; none")
      .add("checkpoint-every", t.checkpoint_every_epochs, {0}, "epochs; 0: only at the end")
      .add("keep-checkpoints", t.keep_checkpoints, {1}, "newest ones that are kept");
}

void declare_network(Options& options, training::TrainOptions& t) {
  options.section("The network")
      .add("network", t.network, "see `brigade models`")
      .add("width", t.width_multiplier, "multiplies the network's filters, where its paper does so (MobileNets)")
      .optional("dropout", t.dropout, "rate in [0, 1); by default the network's own")
      .optional("batch-norm-momentum", t.batch_norm_momentum,
                "weight of the old in the running averages used in evaluation, in [0, 1); by default the network's");
  declare_precision(options, t.precision);
}

void declare_optimizer(Options& options, training::TrainOptions& t) {
  options.section("The optimizer")
      .add("epochs", t.epochs, {1}, "passes over the training split")
      .add("max-steps", t.max_steps, {0}, "stop after so many optimizer steps; 0: no limit")
      .add("batch-size", t.global_batch, {1}, "images per optimizer step, over all ranks")
      .add("micro-batches", t.micro_batches, {0},
           "equal parts of the batch, each with its own batch-norm statistics; 0: one a rank")
      .choice("optimizer", t.optimizer.kind, {{"sgd", OptimizerKind::sgd}, {"adam", OptimizerKind::adam}},
              "update rule")
      .add("learning-rate", t.optimizer.learning_rate, "at its highest")
      .add("momentum", t.optimizer.momentum, "of SGD")
      .flag("nesterov", t.optimizer.nesterov, "SGD looks ahead (with --async by the momentum of all workers)")
      .add("weight-decay", t.optimizer.weight_decay, "of kernels, not of biases and batch norms")
      .choice("schedule", t.optimizer.schedule,
              {{"constant", ScheduleKind::constant}, {"cosine", ScheduleKind::cosine}},
              "learning rate over the run, after warm-up")
      .add("warmup-epochs", t.warmup_epochs, "epochs over which the learning rate rises linearly");
}

void declare_strategy(Options& options, training::TrainOptions& t) {
  options.section("The ranks")
      .choice("strategy", t.strategy,
              {{"one-device", StrategyKind::one_device},
               {"mirrored", StrategyKind::mirrored},
               {"multi-worker", StrategyKind::multi_worker},
               {"parameter-server", StrategyKind::parameter_server},
               {"local-sgd", StrategyKind::local_sgd}},
              "one rank; all ranks of one node, or all ranks, summing gradients in every step; the last ranks keep the "
              "weights for the others; ranks that train on their "
              "share of each batch by themselves and average weights now and then")
      .add("sync-every", t.sync_every, {1}, "steps between the averages of --strategy local-sgd")
      .add("servers", t.servers, {1}, "of the ranks of --strategy parameter-server, the last so many keep the weights")
      .flag("async", t.asynchronous, "parameter servers do a step for each worker's gradients as they come")
      .add("staleness", t.staleness, {0}, "steps that a worker may be ahead of the slowest with --async")
      .add("batchnorm-group", t.batch_norm_group, {1},
           "micro-batches of as many neighbouring ranks share batch-norm statistics, forward and backward; 1: none")
      .flag("reproducible", t.reproducible,
            "the same weights to the bit on 1, 2, 4, 8 ... ranks (that divide --micro-batches) and any threads");
}

void declare_sums(Options& options, TrainCommand& command) {
  auto& t = command.train;
  const auto take_bucket = [&t](const std::string& bucket) {
    t.tune_buckets = bucket == "auto";
    t.bucket_bytes = bucket == "auto" || bucket == "eighth" ? 0 : parse_bytes(bucket, "bucket");
  };
  const auto take_segment = [&t](const std::string& size) { t.allreduce.segment_bytes = parse_bytes(size, "segment"); };
  options
      .choice(
          "allreduce", t.allreduce.algorithm,
          {{"auto", Algorithm::automatic},
           {"ring", Algorithm::ring},
           {"halving-doubling", Algorithm::halving_doubling},
           {"hierarchical", Algorithm::hierarchical},
           {"mpi", Algorithm::mpi}},
          "how gradients are summed; auto: in shared memory within nodes, between them by halving-doubling or ring, as "
          "is quicker for the bytes and the nodes",
          {{"nccl",
            "sums in the memory of GPUs, which needs the GPU backend (this brigade was built without CUDA). Use "
            "--allreduce auto?"}})
      .optional(
          "allreduce-table", command.allreduce_table,
          "FILE: what is quicker, as `brigade bench allreduce --table` measured it on as many nodes; by default as "
          "shipped")
      .choice(
          "wire", t.allreduce.wire, {{"fp32", Wire::fp32}, {"bf16", Wire::bf16}, {"fp16", Wire::fp16}},
          "how gradients travel between nodes by ring; they are added in fp32, and in fp16 each message has a scale")
      .text("bucket", "eighth", take_bucket,
            "bytes of gradients summed at once (K, M, G) while backward goes on; eighth: of all of them, but 256K to "
            "4M; auto: found in the first 27 steps")
      .text("segment", "1M", take_segment, "bytes of a message (K, M, G)");
}

void declare_data(Options& options, training::TrainOptions& t) {
  const auto take_augment = [&t](const std::string& words) { t.augmentation = dataset::parse_augmentation(words); };
  options.section("The data")
      .text("augment", "none", take_augment,
            "WORD[=VALUE],...: random changes of training pictures, the same at any rank count:\n" +
                dataset::augmentation_help())
      .add(
          "image-size", t.image_size,
          "height and width the network sees: random parts in training (crop=0 or resized-crop), the middle otherwise; "
          "0: as stored")
      .add("prefetch", t.prefetch, {-1, 1024}, "batches made ahead by threads; 0: none; -1: data threads + 2")
      .add("data-threads", t.data_threads, {0, 256},
           "threads of a rank that read, decode and augment; 0: one, or a quarter of its processors if images are "
           "decoded or augmented");
  declare_reader(options, t.reader);
  declare_order(options, t.order);
}

// Options that were given, but have no effect on this strategy.
void check_strategy_options(const training::TrainOptions& t, const Options& options) {
  const std::string& strategy = options.resolved().at("strategy");
  const auto refuse = [&](bool without_effect, std::initializer_list<const char*> names, const char* why) {
    for (const char* name : names)
      require<OptionError>(!without_effect || !options.given(name),
                           "--{} has no effect with --strategy {} ({}). Leave it out?", name, strategy, why);
  };
  const bool served = t.strategy == StrategyKind::parameter_server, local = t.strategy == StrategyKind::local_sgd;
  refuse(served, {"allreduce", "allreduce-table", "wire", "segment"},
         "workers push their gradients in pieces of --bucket bytes, as fp32, and nothing is summed by allreduce");
  refuse(!served, {"servers"}, "only parameter-server has servers");
  refuse(!served || !t.asynchronous, {"staleness"},
         "only workers of parameter-server --async may be ahead of one another");
  refuse(!local, {"sync-every"}, "only local-sgd meets now and then");
  refuse(local && !t.tune_buckets, {"bucket"}, "whole arrays are averaged");
}

// The size that was measured on as many nodes as these.
void take_allreduce_table(TrainCommand& command, const Options& options, const communication::Communicator& ranks) {
  if (command.allreduce_table.empty()) return;
  auto& t = command.train;
  require<OptionError>(!t.reproducible && (t.allreduce.algorithm == Algorithm::automatic ||
                                           t.allreduce.algorithm == Algorithm::hierarchical),
                       "--allreduce-table is for --allreduce auto and hierarchical without --reproducible ({} leaves "
                       "nothing to choose). "
                       "Leave it out?",
                       t.reproducible ? "--reproducible" : "--allreduce " + options.resolved().at("allreduce"));
  const auto table = benchmarks::read_allreduce_table(command.allreduce_table);
  const int nodes = communication::exchanging_nodes(ranks);
  if (nodes == 1) return;  // as studies begin, from one node to many
  const auto row = table.find(nodes);
  require<OptionError>(
      row != table.end(),
      "the allreduce table {} has nothing on {} nodes. Measure them with `brigade bench allreduce --table "
      "{}` on as many, or leave it out?",
      command.allreduce_table.string(), nodes, command.allreduce_table.string());
  t.allreduce.short_bytes = t.allreduce.wire == Wire::fp32 ? row->second.fp32 : row->second.narrow;
  t.allreduce_table = command.allreduce_table.string();
  // With what it says: ranks whose files differ are found when options are compared.
  t.resolved["allreduce-table"] =
      fmt::format("{} ({} nodes: {} bytes)", t.allreduce_table, nodes, *t.allreduce.short_bytes);
}

// What is known to be wrong without the dataset, but not from one option alone.
void check(const training::TrainOptions& t, const Options& options) {
  require<OptionError>(
      !t.tune_buckets || t.strategy == StrategyKind::multi_worker || t.strategy == StrategyKind::mirrored ||
          t.strategy == StrategyKind::one_device,
      "--bucket auto looks at sums over ranks, which --strategy {} does not make in every step. Use a size?",
      options.resolved().at("strategy"));
  require<OptionError>(t.optimizer.learning_rate > 0, "--learning-rate {} is not positive", t.optimizer.learning_rate);
  const auto in_unit_interval = [](const char* option, std::optional<float> number) {
    require<OptionError>(!number || (*number >= 0 && *number < 1), "--{} {} is not in [0, 1)", option,
                         number.value_or(0));
  };
  in_unit_interval("dropout", t.dropout);
  in_unit_interval("batch-norm-momentum", t.batch_norm_momentum);
}

// Collective, as all that reads options is.
bool parse(Call& call, TrainCommand& command) {
  auto& t = command.train;
  Options options("train", "train a network on a dataset, synchronously over all ranks");
  declare_run(options, command);
  declare_network(options, t);
  declare_optimizer(options, t);
  declare_data(options, t);
  declare_strategy(options, t);
  declare_sums(options, command);
  options.section("The machine");
  command.backend.declare(options);
  if (!read_options(call, options)) return false;

  std::string table = "none";
  communication::collectively(call.communicator, "checking the options", [&] {
    check(t, options);
    check_strategy_options(t, options);
    call.communicator.set_hang_timeout(command.hang_timeout_s);
    t.command_line = call.command_line;
    t.resolved = options.resolved();
    t.resolved["augment"] = dataset::to_string(t.augmentation);
    take_allreduce_table(command, options, call.communicator);
    if (!command.allreduce_table.empty()) table = communication::content_of(command.allreduce_table);
  });
  communication::require_same(call.communicator, {{"the file of --allreduce-table", table}}, ExitCode::bad_options,
                              "Is it the same on every node?");
  return true;
}

void print_result(const training::TrainResult& result, const std::string& run) {
  const auto& s = result.summary;
  if (s.val_accuracy)
    fmt::print("{}: accuracy {:.2f} %, loss {:.4f} on validation", s.exit_reason, 100 * *s.val_accuracy, *s.val_loss);
  else
    fmt::print("{}: accuracy {:.2f} %, loss {:.4f} in training", s.exit_reason, 100 * s.train_accuracy, s.train_loss);
  fmt::print("; {} steps, {:.1f} s training, {:.0f} images/s, first step {:.2f} s after the start; logs in {}\n",
             s.steps, s.train_s, s.images_per_second, s.startup_s, run);
}

}  // namespace

ExitCode train(Call& call) {
  TrainCommand command;
  if (!parse(call, command)) return ExitCode::done;
  if (!command.train.dry_run) call.launch.check_allocation(call.communicator);
  const LiveBackend backend(command.backend, call.communicator);
  command.train.pinned_processors = backend.placement().processors;
  if (command.preflight && !command.train.dry_run) {
    const auto report = benchmarks::preflight(call.communicator, backend->threads());
    if (call.speaks()) print(report);
    for (const auto& link : report.links)
      command.train.links.push_back({link.from, link.to, link.latency_s, link.bytes_per_s});
  }
  const auto result = training::train(command.train, *backend, call.communicator);
  if (call.speaks() && !command.train.dry_run) print_result(result, command.train.run.string());
  return result.code;
}

}  // namespace brigade::cli
