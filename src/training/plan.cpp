#include "plan.hpp"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "brigade/core/error.hpp"
#include "brigade/core/processors.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/network/zoo.hpp"
#include "micro_batch_sum.hpp"
#include "strategy.hpp"
#include "traffic.hpp"

namespace brigade::training {
namespace {

std::optional<std::string> choose_validation(const dataset::Manifest& manifest, const std::string& wish) {
  if (wish == "none") return std::nullopt;
  if (wish != "auto") return manifest.split(wish), wish;
  for (const char* name : {"val", "test"})
    if (manifest.splits.contains(name)) return name;
  return std::nullopt;
}

void check_batch(const TrainOptions& options, const Plan& plan, int ranks) {
  require<OptionError>(options.global_batch > 0, "--batch-size {} is not positive", options.global_batch);
  require<OptionError>(options.epochs > 0, "--epochs {} is not positive", options.epochs);
  require<OptionError>(ranks <= plan.train_samples,
                       "there are {} ranks, but only {} training samples. Use fewer ranks?", ranks, plan.train_samples);
  require<OptionError>(
      plan.micro_batches >= ranks,
      "{} micro-batches cannot feed {} ranks (each rank computes at least one). Use --micro-batches {} "
      "or fewer ranks?",
      plan.micro_batches, ranks, ranks);
  require<OptionError>(
      options.global_batch % plan.micro_batches == 0,
      "a global batch of {} images cannot be cut into {} equal micro-batches (batch not divisible). Use "
      "--batch-size {} or another --micro-batches?",
      options.global_batch, plan.micro_batches, (options.global_batch / plan.micro_batches + 1) * plan.micro_batches);
  require<OptionError>(
      plan.train_samples >= options.global_batch,
      "the training split has {} samples, fewer than one global batch of {}. Use a smaller --batch-size?",
      plan.train_samples, options.global_batch);
}

// The sum over all micro-batches is one binary tree; each rank computes a whole branch of it.
void check_reproducible(const TrainOptions& options, int ranks) {
  require<OptionError>(options.micro_batches > 0,
                       "--reproducible needs --micro-batches (the bits depend on their number, by default that of the "
                       "ranks). Use --micro-batches {}, or more for more ranks later?",
                       std::bit_ceil(static_cast<unsigned>(ranks)));
  require<OptionError>(std::has_single_bit(static_cast<unsigned>(ranks)) && options.micro_batches % ranks == 0,
                       "--reproducible cannot share {} micro-batches among {} ranks (gradients are summed as a binary "
                       "tree, of which each rank computes a branch). Use 1, 2, 4, 8 ... ranks that divide them?",
                       options.micro_batches, ranks);
}

// A group is the micro-batches that neighbouring ranks compute at the same time.
void check_batch_norm_group(const TrainOptions& options, const Plan& plan, int ranks) {
  const std::int64_t group = options.batch_norm_group;
  require<OptionError>(group >= 1, "--batchnorm-group {} is not positive", group);
  if (group == 1) return;
  require<OptionError>(
      ranks % group == 0 && plan.micro_batches % ranks == 0,
      "--batchnorm-group {} does not divide {} ranks with {} micro-batches (a group is the micro-batches "
      "that as many ranks compute at the same time). Use a divisor of the ranks, or on fewer ranks "
      "fewer, larger --micro-batches?",
      group, ranks, plan.micro_batches);
  require<OptionError>(!options.reproducible,
                       "--batchnorm-group {} makes the bits depend on the number of ranks, which --reproducible rules "
                       "out. Use fewer, larger --micro-batches?",
                       group);
}

// The largest odd divisor: halving its multiple for 2, 4, 8 ... ranks never cuts it.
std::int64_t odd_part(std::int64_t count) { return count >> std::countr_zero(static_cast<std::uint64_t>(count)); }

// Processors of this rank: those its launcher has bound it to, or an equal part of a node that nobody has divided.
int own_processors(int node_ranks) {
  const int allowed = static_cast<int>(allowed_processors().size());
  return allowed < ::sysconf(_SC_NPROCESSORS_ONLN) ? allowed : allowed / node_ranks;
}

// Threads that make batches. Copying and normalising stored pixels takes one thread whatever the network; decoding and
// resampling share the processors of this rank with the network.
int choose_data_threads(const TrainOptions& options, dataset::Layout layout, int node_ranks) {
  if (options.data_threads > 0) return options.data_threads;
  if (options.augmentation == dataset::Augmentation{} && layout == dataset::Layout::raw) return 1;
  return std::clamp(own_processors(node_ranks) / 4, 1, 16);
}

}  // namespace

Plan make_plan(const TrainOptions& options, int rank, int ranks, int node_ranks) {
  Plan plan;
  plan.manifest = dataset::read_manifest(options.dataset);
  plan.train_samples = plan.manifest.split("train").samples();
  plan.validation_split = choose_validation(plan.manifest, options.validation_split);

  auto image = plan.manifest.image;
  if (options.image_size != 0) {
    require<OptionError>(options.image_size > 0 && options.image_size <= std::min(image.height, image.width),
                         "--image-size {} does not fit the stored images of {}x{}. Shard them larger?",
                         options.image_size, image.height, image.width);
    image.height = image.width = options.image_size;
  }
  plan.model = {.network = options.network,
                .height = image.height,
                .width = image.width,
                .channels = image.channels,
                .stored_height = plan.manifest.image.height,
                .stored_width = plan.manifest.image.width,
                .width_multiplier = options.width_multiplier,
                .classes = plan.manifest.classes,
                .mean = plan.manifest.mean,
                .stddev = plan.manifest.stddev,
                .augmentation = dataset::to_string(options.augmentation)};
  plan.graph = network::make_network(options.network, {.height = image.height,
                                                       .width = image.width,
                                                       .channels = image.channels,
                                                       .classes = static_cast<std::int64_t>(plan.model.classes.size()),
                                                       .dropout = options.dropout,
                                                       .batch_norm_momentum = options.batch_norm_momentum,
                                                       .width_multiplier = options.width_multiplier});

  plan.data_threads = choose_data_threads(options, plan.manifest.layout, node_ranks);
  plan.prefetch = options.prefetch >= 0 ? options.prefetch : plan.data_threads + 2;
  plan.micro_batches = options.micro_batches == 0 ? ranks : options.micro_batches;
  check_batch(options, plan, ranks);
  plan.own_micro_batches = dataset::part_of(plan.micro_batches, rank, ranks);
  if (options.reproducible) check_reproducible(options, ranks);
  check_batch_norm_group(options, plan, ranks);
  plan.leaf = options.reproducible ? odd_part(plan.micro_batches) : plan.own_micro_batches.size();
  plan.allreduce = options.allreduce;
  plan.allreduce.one_tree = options.reproducible;
  communication::check(plan.allreduce);
  const std::int64_t micro_batch = options.global_batch / plan.micro_batches;
  plan.own_share = {plan.own_micro_batches.begin * micro_batch, plan.own_micro_batches.end * micro_batch};

  plan.steps_per_epoch = dataset::steps_per_epoch(plan.train_samples, options.global_batch, options.order.tail);
  plan.total_steps = plan.steps_per_epoch * options.epochs;
  plan.optimizer = options.optimizer;
  plan.optimizer.warmup_steps = std::llround(options.warmup_epochs * static_cast<double>(plan.steps_per_epoch));
  return plan;
}

std::string describe(const Plan& plan, const TrainOptions& options, const communication::Communicator& communicator,
                     int ranks) {
  const auto parameters = network::parameter_count(plan.graph);
  double flops = 0;
  for (const auto& node : plan.graph.nodes) flops += network::forward_flops(plan.graph, node);
  const double gradient_bytes = 4.0 * static_cast<double>(parameters + network::statistics_count(plan.graph));
  const auto partial_sums = static_cast<double>(MicroBatchSum::arrays(plan.own_micro_batches.size(), plan.leaf));
  const double arena =
      static_cast<double>(network::planned_bytes(plan.graph, plan.micro_batch(), true, {}, options.precision));
  return fmt::format(
      "network         {} ({} parameters, {:.1f} MFLOP an image forward)\n"
      "training data   {} images in {} classes; validation: {}\n"
      "global batch    {} images = {} micro-batches of {} over {} ranks\n"
      "augmentation    {}; {} data thread{} a rank, {} batches ahead\n"
      "steps           {} an epoch x {} epochs = {} ({} images {} an epoch)\n"
      "memory          {:.1f} MB activations in {} + {:.1f} MB weights, gradients and optimizer, a rank\n"
      "{}",
      plan.graph.name, parameters, flops * 1e-6, plan.train_samples, plan.model.classes.size(),
      plan.validation_split.value_or("none"), options.global_batch, plan.micro_batches, plan.micro_batch(), ranks,
      plan.model.augmentation, plan.data_threads, plan.data_threads == 1 ? "" : "s", plan.prefetch,
      plan.steps_per_epoch, options.epochs, plan.total_steps,
      std::abs(plan.train_samples - plan.steps_per_epoch * options.global_batch),
      options.order.tail == dataset::Tail::fill ? "used twice" : "dropped", arena * 1e-6,
      network::name_of(options.precision),
      gradient_bytes * ((options.optimizer.kind == OptimizerKind::sgd ? 3 : 4) + partial_sums) * 1e-6,
      describe_traffic(plan, options, communicator));
}

std::map<std::string, std::string> identity(const Plan& plan, const TrainOptions& options) {
  const auto& o = options.optimizer;
  return {{"network", options.network},
          {"width", fmt::format("{}", options.width_multiplier)},
          {"precision", std::string(network::name_of(options.precision))},
          {"image", fmt::format("{}x{}x{}", plan.model.height, plan.model.width, plan.model.channels)},
          {"classes", fmt::format("{}", plan.model.classes.size())},
          {"training samples", fmt::format("{}", plan.train_samples)},
          {"batch-size", fmt::format("{}", options.global_batch)},
          {"epochs", fmt::format("{}", options.epochs)},  // the schedule depends on it
          {"augment", plan.model.augmentation},
          {"seed", fmt::format("{}", options.seed)},
          {"batchnorm-group", fmt::format("{}", options.batch_norm_group)},
          {"strategy", describe_strategy(options)},
          {"shuffle", dataset::to_string(options.order)},
          {"reproducible", options.reproducible ? fmt::format("with {} micro-batches", plan.micro_batches) : "no"},
          {"dropout", options.dropout ? fmt::format("{}", *options.dropout) : "as published"},
          {"optimizer", o.kind == OptimizerKind::sgd ? "sgd" : "adam"},
          {"learning-rate", fmt::format("{}", o.learning_rate)},
          {"momentum", fmt::format("{}", o.momentum)},
          {"nesterov", o.nesterov ? "yes" : "no"},
          {"weight-decay", fmt::format("{}", o.weight_decay)},
          {"schedule", o.schedule == ScheduleKind::constant ? "constant" : "cosine"},
          {"warmup-epochs", fmt::format("{}", options.warmup_epochs)}};
}

}  // namespace brigade::training
