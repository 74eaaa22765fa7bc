// brigade bench io: options, and the presets that set several at once.
#include <algorithm>
#include <optional>
#include <sstream>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/telemetry/progress.hpp"
#include "brigade/telemetry/run_directory.hpp"
#include "commands.hpp"
#include "io.hpp"
#include "options.hpp"
#include "reader_options.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

using benchmarks::Cache;
using benchmarks::IoFormat;
using benchmarks::Order;
using benchmarks::Pipeline;

enum class Preset : std::uint8_t { none, mlperf_storage_resnet50 };

// As typed: lists are "a,b,c".
struct IoCommand {
  Preset preset = Preset::none;
  std::filesystem::path dataset, source, work, output, json;
  std::string formats;
  std::int64_t synthesise = 0;
  std::string image_size = "0";
  std::string readers = "auto", orders = "shuffled", caches = "warm", batch_sizes = "64", batch_numbers = "20",
              dataset_sizes = "0";
  double compute_ms = 0;
  std::string augment = "none";
  bool skip_check = false;
  benchmarks::IoOptions io;
  std::map<std::string, std::string> resolved;
};

// What a preset sets; the command line and the configuration file win.
IoCommand preset_of(Preset preset) {
  IoCommand command;
  command.preset = preset;
  switch (preset) {
    case Preset::none: break;
    case Preset::mlperf_storage_resnet50:
      // MLPerf Storage's ResNet-50 on an emulated H100: batches of 400, 114,660.07 bytes a sample, 0.224 s a step,
      // 90 % utilisation wanted (github.com/mlcommons/storage, storage-conf/workload/resnet50_h100.yaml). Raw images
      // of 195 x 196 x 3 have exactly 114,660 bytes.
      command.formats = "raw";
      command.image_size = "195x196";
      command.synthesise = 8000;
      command.batch_sizes = "400";
      command.batch_numbers = "50";
      command.compute_ms = 224;
      command.io.sweep.repetitions = 3;
      break;
  }
  return command;
}

void declare(Options& options, IoCommand& command) {
  auto& io = command.io;
  auto& sweep = io.sweep;
  options
      .choice(
          "preset", command.preset,
          {{"none", Preset::none}, {"mlperf-storage-resnet50", Preset::mlperf_storage_resnet50}},
          "other defaults for the options below: MLPerf Storage's ResNet-50 on an emulated H100 (batch 400, 114,660 "
          "bytes a sample, 224 ms a step)")
      .optional("dataset", command.dataset, "DIR: measure these shards, as they are trained on")
      .optional("source", command.source,
                "DIR or FILE: make all formats of these images (whatever `brigade shard` reads)")
      .add("synthesise", command.synthesise, "make all formats of so many made-up images")
      .optional("work", command.work, "DIR: where formats are made, once; with --source or --synthesise")
      .add("image-size", command.image_size,
           "height and width that images are delivered in, or HEIGHTxWIDTH with --synthesise; 0: as the first, or 64")
      .add("format", command.formats, "list of files, tfrecord, raw, encoded; empty: all, or that of --dataset")
      .add("reader", command.readers,
           "list of auto, mmap, independent, collective, preload, stage: how shards are read, as in training")
      .add("order", command.orders, "list of shuffled (as training has it), sequential (as images lie in files)")
      .add("cache", command.caches, "list of warm, cold (page cache of the files dropped before each measurement)")
      .add("batch-size", command.batch_sizes, "list of images a batch, of each rank")
      .add("batches", command.batch_numbers, "list of batches a measurement")
      .add("dataset-size", command.dataset_sizes, "list of images read from, over and over if need be; 0: all")
      .add("repetitions", sweep.repetitions, {1}, "of each combination; the median is printed")
      .choice("pipeline", io.pipeline, {{"train", Pipeline::train}, {"read", Pipeline::read}},
              "batches as in training, or only read (and decoded) to memory by one thread")
      .add("prefetch", io.prefetch, {0, 1024}, "train: batches made ahead by threads; 0: none")
      .add("data-threads", io.data_threads, {1, 256}, "train: threads that read, decode and augment")
      .add("augment", command.augment, "train: WORD[=VALUE],..., see `brigade train --help`")
      .add("crop-size", io.crop_size, {0, 65536}, "train: height and width of the pictures made; 0: as delivered")
      .add("emulate-compute", command.compute_ms, {0, 3600000},
           "ms slept after each batch, as a step would compute; 0: none")
      .flag("skip-check", command.skip_check, "do not read and compare all images before measuring")
      .add("seed", io.seed, "of the order of images")
      .optional("output", command.output, "DIR: for logs, one a rank, see `brigade-analysis io`")
      .optional("json", command.json, "FILE: all numbers, for programs");
  declare_reading(options, io.reader);
}

std::vector<std::string> words_of(const std::string& list, const char* option) {
  std::vector<std::string> words;
  std::istringstream text(list);
  for (std::string word; std::getline(text, word, ',');) words.push_back(word);
  require<OptionError>(!words.empty(), "--{} is an empty list", option);
  return words;
}

template <class Enum>
std::vector<Enum> choices_of(const std::string& list, const char* option,
                             const std::vector<std::pair<std::string, Enum>>& known) {
  std::vector<Enum> chosen;
  for (const auto& word : words_of(list, option)) {
    const auto found = std::ranges::find(known, word, [](const auto& entry) { return entry.first; });
    std::string all;
    for (const auto& entry : known) all += (all.empty() ? "" : ", ") + entry.first;
    require<OptionError>(found != known.end(), "--{}: '{}' is not one of {}", option, word, all);
    chosen.push_back(found->second);
  }
  return chosen;
}

std::int64_t number_of(const std::string& word, const char* option, std::int64_t least) {
  std::size_t used = 0;
  std::int64_t number = -1;
  try {
    number = std::stoll(word, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  require<OptionError>(used == word.size() && used > 0 && number >= least && number <= std::int64_t{1} << 40,
                       "--{}: '{}' is no whole number from {} to 2^40", option, word, least);
  return number;
}

std::vector<std::int64_t> numbers_of(const std::string& list, const char* option, std::int64_t least) {
  std::vector<std::int64_t> numbers;
  for (const auto& word : words_of(list, option)) numbers.push_back(number_of(word, option, least));
  return numbers;
}

benchmarks::IoDataOptions data_of(const IoCommand& command) {
  benchmarks::IoDataOptions data{.dataset = command.dataset, .source = command.source, .directory = command.work};
  const int given = (command.dataset.empty() ? 0 : 1) + (command.source.empty() ? 0 : 1);
  const bool synthetic = given == 0 && command.synthesise > 0;  // a preset's number gives way to a dataset
  require<OptionError>(given == 1 || synthetic, "give one of --dataset DIR, --source PATH and --synthesise NUMBER");
  require<OptionError>(!command.dataset.empty() || !command.work.empty(),
                       "--work DIR is missing: where formats are made");
  const auto by = command.image_size.find('x');
  const std::int64_t height = number_of(command.image_size.substr(0, by), "image-size", 0);
  if (!synthetic) {
    require<OptionError>(by == std::string::npos, "--image-size {}: only synthetic images need not be square",
                         command.image_size);
    data.image_size = height;
    return data;
  }
  const std::int64_t width =
      by == std::string::npos ? height : number_of(command.image_size.substr(by + 1), "image-size", 1);
  data.synthetic = {
      .samples = command.synthesise, .height = height == 0 ? 64 : height, .width = width == 0 ? 64 : width};
  return data;
}

std::vector<IoFormat> formats_of(const IoCommand& command) {
  if (command.formats.empty() && !command.dataset.empty()) return {};
  const std::string all = "files,tfrecord,raw,encoded";
  return choices_of<IoFormat>(command.formats.empty() ? all : command.formats, "format",
                              {{"files", IoFormat::files},
                               {"tfrecord", IoFormat::tfrecord},
                               {"raw", IoFormat::raw},
                               {"encoded", IoFormat::encoded}});
}

void resolve(IoCommand& command) {
  auto& io = command.io;
  io.sweep.formats = formats_of(command);
  io.sweep.readers = choices_of(command.readers, "reader", reader_modes());
  io.sweep.orders =
      choices_of<Order>(command.orders, "order", {{"shuffled", Order::shuffled}, {"sequential", Order::sequential}});
  io.sweep.caches = choices_of<Cache>(command.caches, "cache", {{"warm", Cache::warm}, {"cold", Cache::cold}});
  io.sweep.batch_sizes = numbers_of(command.batch_sizes, "batch-size", 1);
  io.sweep.batch_numbers = numbers_of(command.batch_numbers, "batches", 1);
  io.sweep.dataset_sizes = numbers_of(command.dataset_sizes, "dataset-size", 0);
  io.augmentation = dataset::parse_augmentation(command.augment);
  io.compute_s = 1e-3 * command.compute_ms;
  io.check = !command.skip_check;
  io.output = command.output;
  require<OptionError>(
      io.compute_s == 0 || std::ranges::min(io.sweep.batch_numbers) >= 2,
      "--emulate-compute needs --batches of 2 or more: utilisation is measured from the second step on");
  require<OptionError>(io.pipeline == Pipeline::train || (command.augment == "none" && io.crop_size == 0),
                       "--augment and --crop-size need --pipeline train");
}

// Collective. The options are read twice: a preset changes what others are if they are not given, in --help, too.
bool parse(Call& call, IoCommand& command) {
  auto without_help = call.arguments;
  std::erase_if(without_help, [](const std::string& argument) { return argument == "--help" || argument == "-h"; });
  const char* summary = "the trainer's own reading over formats, readers, batches and caches; checked first";
  IoCommand first;
  Options with_any_preset("bench io", summary), options("bench io", summary);
  declare(with_any_preset, first);
  collectively(call.communicator, "reading the preset", [&] { with_any_preset.parse(without_help, false); });
  command = preset_of(first.preset);
  declare(options, command);
  if (!read_options(call, options)) return false;
  command.resolved = options.resolved();
  return true;
}

void write_run(Call& call, const IoCommand& command, const benchmarks::IoData& data) {
  const auto places =
      call.communicator.all_gather(telemetry::to_line(telemetry::place_of_this_process()), "gathering where ranks run");
  collectively(call.communicator, "writing run.json", [&] {
    if (!call.speaks() || command.output.empty()) return;
    require<OptionError>(!std::filesystem::exists(command.output / "run.json"),
                         "{} holds another run's logs. Use another --output?", command.output.string());
    telemetry::write_run_info(command.output, {.command_line = call.command_line,
                                               .network = "none (bench io)",
                                               .dataset = data.description(),
                                               .backend = "none",
                                               .options = command.resolved,
                                               .ranks = call.communicator.size(),
                                               .threads_per_rank = command.io.data_threads,
                                               .places = telemetry::places_from(places),
                                               .process_start_s = process_start_s()});
  });
}

}  // namespace

ExitCode bench_io(Call& call) {
  IoCommand command;
  benchmarks::IoDataOptions wanted;
  if (!parse(call, command)) return ExitCode::done;
  collectively(call.communicator, "checking the options", [&] {
    resolve(command);
    wanted = data_of(command);
  });
  const benchmarks::IoData data(call.communicator, wanted, command.io.sweep.formats);
  write_run(call, command, data);
  std::optional<telemetry::ProgressLine> line;
  const auto report = benchmarks::measure_io(call.communicator, data, command.io, [&](auto done, auto total) {
    if (!call.speaks()) return;
    if (!line) line.emplace("bench io", "measurements", total);
    line->update(done);
  });
  if (line) line->finish();
  if (!call.speaks()) return ExitCode::done;
  benchmarks::print(report);
  if (!command.json.empty()) write_file(command.json, benchmarks::to_json(report));
  return ExitCode::done;
}

}  // namespace brigade::cli
