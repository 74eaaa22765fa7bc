// brigade bench WHAT: kernels and whole steps of one rank, against what the processor can do at best.
#include <cstdio>
#include <filesystem>
#include <span>
#include <sstream>

#include "backend_options.hpp"
#include "benchmarks.hpp"
#include "brigade/core/atomic_file.hpp"
#include "brigade/network/zoo.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

using training::OptimizerKind;

// What every benchmark is asked.
struct Common {
  std::filesystem::path json;
  BackendOptions backend;

  void declare(Options& options, std::int64_t& batch, benchmarks::Repetitions& repetitions) {
    options.add("batch-size", batch, {1}, "images")
        .add("warmup", repetitions.warmup, {0}, "repetitions before those that count")
        .add("repetitions", repetitions.measured, {1}, "of which the median is printed")
        .optional("json", json, "FILE: all numbers, for programs");
    backend.declare(options);
  }

  // Everything that can be known to be wrong before minutes are spent.
  void check(const Call& call) const {
    require<OptionError>(call.communicator.size() == 1,
                         "this benchmark measures one rank ({} were started). Leave mpirun out?",
                         call.communicator.size());
    require<OptionError>(backend.kind == BackendKind::host,
                         "the ceilings are those of the processor. Use --backend host?");
    if (json.empty()) return;
    const auto directory = std::filesystem::absolute(json).parent_path();
    require<OptionError>(std::filesystem::is_directory(directory), "--json {}: there is no directory {}", json.string(),
                         directory.string());
  }

  // All numbers to --json, if it was given.
  template <class Report>
  void write(const Report& report) const {
    if (!json.empty()) write_file(json, benchmarks::to_json(report));
  }
};

ExitCode kernels(Call& call) {
  Common common;
  benchmarks::KernelOptions wanted;
  Options options("bench kernels",
                  "each convolution and dense layer of a network, its three passes; answers are checked");
  options
      .add("network", wanted.network,
           "whose layers are measured; without it, the 23 shapes of ResNet-50 (stride in the 3x3)")
      .add("image-size", wanted.image_size, "height and width in pixels, with --network; 0: the network's usual");
  declare_precision(options, wanted.precision);
  common.declare(options, wanted.batch, wanted.repetitions);
  if (!read_options(call, options)) return ExitCode::done;
  communication::collectively(call.communicator, "checking the options", [&] {
    common.check(call);
    require<OptionError>(wanted.image_size == 0 || !wanted.network.empty(), "--image-size needs --network");
  });
  const LiveBackend backend(common.backend, call.communicator);
  const auto report = benchmarks::measure_kernels(*backend, wanted);
  benchmarks::print(report);
  common.write(report);
  return ExitCode::done;
}

// The networks of a list "a,b,c", or all of them.
std::vector<std::string> networks_of(const std::string& list) {
  std::vector<std::string> names;
  if (list == "all") {
    for (const auto& entry : network::zoo()) names.emplace_back(entry.name);
    return names;
  }
  std::istringstream text(list);
  for (std::string name; std::getline(text, name, ',');) {
    names.push_back(name);
    network::make_network(name);  // throws now rather than after an hour
  }
  require<OptionError>(!names.empty(), "--network names none. See `brigade models`?");
  return names;
}

ExitCode step(Call& call) {
  Common common;
  benchmarks::StepOptions wanted;
  std::vector<std::string> without;
  Options options("bench step",
                  "forward, backward and optimizer of a network on synthetic images; answers are checked");
  options.add("network", wanted.network, "see `brigade models`; several: a,b,c, or all")
      .add("image-size", wanted.image_size, "height and width in pixels; 0: the network's usual")
      .add("classes", wanted.classes, "0: as published")
      .flag("inference", wanted.inference, "forward only, as in evaluation")
      .choice("optimizer", wanted.optimizer, {{"sgd", OptimizerKind::sgd}, {"adam", OptimizerKind::adam}},
              "update rule")
      .repeated("without-pass", without,
                "may be repeated: leave a pass over the graph out (" + network::known_passes() + ")");
  declare_precision(options, wanted.precision);
  common.declare(options, wanted.batch, wanted.repetitions);
  if (!read_options(call, options)) return ExitCode::done;
  std::vector<std::string> networks;
  communication::collectively(call.communicator, "checking the options", [&] {
    common.check(call);
    for (const std::string& pass : without) network::disable(wanted.passes, pass);
    networks = networks_of(wanted.network);
  });
  const LiveBackend backend(common.backend, call.communicator);
  std::vector<benchmarks::StepReport> reports;
  for (const std::string& name : networks) {
    wanted.network = name;
    reports.push_back(benchmarks::measure_step(*backend, wanted));
    benchmarks::print(reports.back());
    if (networks.size() > 1) fmt::print("\n");
    std::fflush(stdout);
  }
  if (networks.size() == 1) {
    common.write(reports.front());
  } else {
    benchmarks::print_table(reports);
    common.write(std::span<const benchmarks::StepReport>(reports));
  }
  return ExitCode::done;
}

ExitCode augment(Call& call) {
  benchmarks::AugmentOptions wanted;
  std::string words = "flip,resized-crop=0.08:1";
  std::filesystem::path json;
  Options options("bench augment", "one data thread: reading (decoding), augmenting, normalising");
  options.optional("dataset", wanted.dataset, "DIR: whose training images are read; without it, noise in memory")
      .add("image-size", wanted.image_size, {1, 65536}, "height and width of that noise")
      .add("crop-size", wanted.crop_size, "height and width of the pictures made; 0: as stored")
      .add("augment", words, "WORD[=VALUE],...: see `brigade train --help`")
      .add("batch-size", wanted.batch, {1, 65536}, "images")
      .add("warmup", wanted.repetitions.warmup, {0}, "repetitions before those that count")
      .add("repetitions", wanted.repetitions.measured, {1}, "of which the median is printed")
      .optional("json", json, "FILE: all numbers, for programs");
  if (!read_options(call, options)) return ExitCode::done;
  communication::collectively(call.communicator, "measuring augmentation", [&] {
    if (!call.speaks()) return;
    wanted.augmentation = dataset::parse_augmentation(words);
    const auto report = benchmarks::measure_augmentation(wanted);
    benchmarks::print(report);
    if (!json.empty()) write_file(json, benchmarks::to_json(report));
  });
  return ExitCode::done;
}

}  // namespace

ExitCode bench(Call& call) {
  const std::string what = call.arguments.empty() ? "" : call.arguments.front();
  if (!what.empty()) call.arguments.erase(call.arguments.begin());
  if (what == "kernels") return kernels(call);
  if (what == "step") return step(call);
  if (what == "augment") return augment(call);
  if (what == "allreduce") return bench_allreduce(call);
  if (what == "io") return bench_io(call);
  if (what == "--help" || what == "-h") {
    if (call.speaks())
      fmt::print(
          "brigade bench allreduce - speed of sums over ranks\n"
          "brigade bench io      - speed of reading, by format, reader, batch and cache\n"
          "brigade bench kernels - speed of each convolution of a network\n"
          "brigade bench step    - speed of the whole training step\n"
          "brigade bench augment - speed of one data thread: decoding, augmenting, normalising\n\n"
          "--help after any of them lists its options.\n");
    return ExitCode::done;
  }
  OptionError error(
      fmt::format("there is no benchmark '{}' (there are allreduce, augment, io, kernels and step). See `brigade "
                  "bench --help`?",
                  what));
  error.on_all_ranks = true;
  throw error;
}

}  // namespace brigade::cli
