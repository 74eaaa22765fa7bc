#include "brigade/training/trainer.hpp"

#include "backend_options.hpp"
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
  training::TrainOptions train;
  BackendOptions backend;
};

bool parse(Call& call, TrainCommand& command) {
  auto& t = command.train;
  std::string dataset, run, augment = "none", bucket = "eighth", segment = "1M";
  float dropout = -1;
  Options options("train", "train a network on a dataset, synchronously over all ranks");
  options.required("dataset", dataset, "DIR: made by `brigade shard`")
      .required("run", run, "DIR: for logs, checkpoints and summary; made if missing")
      .flag("resume", t.resume, "continue from the newest checkpoint in --run; harmless on a first run")
      .flag("dry-run", t.dry_run, "print the plan (memory, traffic, steps) and exit")
      .add("hang-timeout", command.hang_timeout_s,
           "seconds a rank waits for the others before it names who is missing and the job ends (exit code 5)")
      .flag("preflight", command.preflight,
            "first measure arithmetic, memory and links of all ranks (seconds), and name those far from the others")
      .add("network", t.network, "see `brigade models`")
      .add("width", t.width_multiplier, "multiplies the network's filters, where its paper does so (MobileNets)")
      .add("epochs", t.epochs, "passes over the training split")
      .add("max-steps", t.max_steps, "stop after so many optimizer steps; 0: no limit")
      .add("batch-size", t.global_batch, "images per optimizer step, over all ranks")
      .add("micro-batches", t.micro_batches,
           "equal parts of the batch, each with its own batch-norm statistics; 0: one a rank")
      .choice("strategy", t.strategy,
              {{"one-device", StrategyKind::one_device},
               {"mirrored", StrategyKind::mirrored},
               {"multi-worker", StrategyKind::multi_worker},
               {"parameter-server", StrategyKind::parameter_server},
               {"local-sgd", StrategyKind::local_sgd}},
              "one rank; all ranks of one node, or all ranks, summing gradients in every step; the last ranks keep the "
              "weights for the others; ranks that train on their "
              "share of each batch by themselves and average weights now and then")
      .add("sync-every", t.sync_every, "steps between the averages of --strategy local-sgd")
      .add("servers", t.servers, "of the ranks of --strategy parameter-server, the last so many keep the weights")
      .flag("async", t.asynchronous, "parameter servers do a step for each worker's gradients as they come")
      .add("staleness", t.staleness, "steps that a worker may be ahead of the slowest with --async")
      .add("batchnorm-group", t.batch_norm_group,
           "micro-batches of as many neighbouring ranks share batch-norm statistics, forward and backward; 1: none")
      .flag("reproducible", t.reproducible,
            "the same weights to the bit on 1, 2, 4, 8 ... ranks (that divide --micro-batches) and any threads")
      .choice("optimizer", t.optimizer.kind, {{"sgd", OptimizerKind::sgd}, {"adam", OptimizerKind::adam}},
              "update rule")
      .add("learning-rate", t.optimizer.learning_rate, "at its highest")
      .add("momentum", t.optimizer.momentum, "of SGD")
      .flag("nesterov", t.optimizer.nesterov, "SGD looks ahead")
      .add("weight-decay", t.optimizer.weight_decay, "of kernels, not of biases and batch norms")
      .choice("schedule", t.optimizer.schedule,
              {{"constant", ScheduleKind::constant}, {"cosine", ScheduleKind::cosine}},
              "learning rate over the run, after warm-up")
      .add("warmup-epochs", t.warmup_epochs, "epochs over which the learning rate rises linearly")
      .add("dropout", dropout, "rate in [0, 1), instead of the network's own; -1: the network's own")
      .optional("batch-norm-momentum", t.batch_norm_momentum,
                "weight of the old in the running averages used in evaluation, in [0, 1); by default the network's")
      .add("seed", t.seed, "of weights, sample order and dropout")
      .add("validation-split", t.validation_split, "evaluated after each epoch; auto: val, else test; none")
      .add("augment", augment,
           "WORD[=VALUE],...: random changes of training pictures, the same at any rank count:\n" +
               dataset::augmentation_help())
      .add(
          "image-size", t.image_size,
          "height and width the network sees: random parts in training (crop=0 or resized-crop), the middle otherwise; "
          "0: as stored")
      .add("prefetch", t.prefetch, "batches made ahead by threads; 0: none; -1: data threads + 2")
      .add("data-threads", t.data_threads,
           "threads of a rank that read, decode and augment; 0: one, or a quarter of its processors if images are "
           "decoded or augmented")
      .choice("allreduce", t.allreduce.algorithm,
              {{"automatic", Algorithm::automatic},
               {"ring", Algorithm::ring},
               {"halving-doubling", Algorithm::halving_doubling},
               {"hierarchical", Algorithm::hierarchical},
               {"mpi", Algorithm::mpi}},
              "how gradients are summed")
      .choice(
          "wire", t.allreduce.wire, {{"fp32", Wire::fp32}, {"bf16", Wire::bf16}, {"fp16", Wire::fp16}},
          "how gradients travel between nodes by ring; they are added in fp32, and in fp16 each message has a scale")
      .add("bucket", bucket,
           "bytes of gradients summed at once (K, M, G) while backward goes on; eighth: of all of them, but 256K to "
           "4M; auto: found in the first 27 steps")
      .add("segment", segment, "bytes of a message (K, M, G)")
      .add("checkpoint-every", t.checkpoint_every_epochs, "epochs; 0: only at the end")
      .add("keep-checkpoints", t.keep_checkpoints, "newest ones that are kept");
  declare_precision(options, t.precision);
  declare_reader(options, t.reader);
  declare_order(options, t.order);
  command.backend.declare(options);
  if (!options.parse(call.arguments, call.speaks())) return false;

  t.dataset = dataset;
  t.run = run;
  t.augmentation = dataset::parse_augmentation(augment);
  require<OptionError>(t.data_threads >= 0 && t.data_threads <= 256, "--data-threads {} is not in 0..256",
                       t.data_threads);
  require<OptionError>(
      bucket != "auto" || t.strategy == StrategyKind::multi_worker || t.strategy == StrategyKind::mirrored ||
          t.strategy == StrategyKind::one_device,
      "--bucket auto looks at sums over ranks, which --strategy {} does not make in every step. Use a size?",
      options.resolved().at("strategy"));
  t.tune_buckets = bucket == "auto";
  if (bucket != "auto" && bucket != "eighth") t.bucket_bytes = parse_bytes(bucket, "bucket");
  t.allreduce.segment_bytes = parse_bytes(segment, "segment");
  require<OptionError>(dropout < 1, "--dropout {} is not below 1", dropout);
  if (dropout >= 0) t.dropout = dropout;
  require<OptionError>(t.prefetch >= -1 && t.prefetch <= 1024, "--prefetch {} is not in -1..1024", t.prefetch);
  require<OptionError>(t.order.block >= 1, "--shuffle-block {} is not positive", t.order.block);
  require<OptionError>(t.optimizer.learning_rate > 0, "--learning-rate {} is not positive", t.optimizer.learning_rate);
  const float momentum = t.batch_norm_momentum.value_or(0);
  require<OptionError>(momentum >= 0 && momentum < 1, "--batch-norm-momentum {} is not in [0, 1)", momentum);
  require<OptionError>(t.keep_checkpoints >= 1, "--keep-checkpoints {} is not positive", t.keep_checkpoints);
  call.communicator.set_hang_timeout(command.hang_timeout_s);
  t.command_line = call.command_line;
  t.resolved = options.resolved();
  t.resolved["augment"] = dataset::to_string(t.augmentation);
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
  bool run = false;
  communication::collectively(call.communicator, "reading the options", [&] { run = parse(call, command); });
  if (!run) return ExitCode::done;
  check_options(call.communicator, command.train.resolved);
  if (!command.train.dry_run) call.launch.check_allocation(call.communicator);
  const LiveBackend backend(command.backend, call.communicator);
  command.train.pinned_processors = backend.placement().processors;
  if (command.preflight && !command.train.dry_run) {
    const auto report = benchmarks::preflight(call.communicator, backend->threads());
    if (call.speaks()) print(report);
  }
  const auto result = training::train(command.train, *backend, call.communicator);
  if (call.speaks() && !command.train.dry_run) print_result(result, command.train.run.string());
  return result.code;
}

}  // namespace brigade::cli
