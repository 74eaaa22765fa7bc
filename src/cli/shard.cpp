#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>

#include <fmt/ranges.h>

#include "backend_options.hpp"
#include "brigade/communication/require_same.hpp"
#include "brigade/core/atomic_file.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/dataset/ingest.hpp"
#include "brigade/telemetry/progress.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

constexpr std::size_t kBadSamplesShown = 10;

struct ShardOptions {
  dataset::SourceOptions input;
  dataset::IngestOptions ingest;
  bool skip_bad = false;
};

// "auto|idx|...: idx is ..., ...".
std::string format_help() {
  std::string words = "auto", lines;
  for (const auto& [name, help] : dataset::source_formats()) {
    words += "|" + name;
    lines += fmt::format("\n  {}: {}", name, help);
  }
  return fmt::format("{}: auto looks at what is there{}", words, lines);
}

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

// "train=0.8,val=0.2".
std::map<std::string, double> parse_split(const std::string& text) {
  std::map<std::string, double> shares;
  for (const auto& part : comma_separated(text)) {
    const auto equals = part.find('=');
    const auto name = part.substr(0, equals), number = equals == std::string::npos ? "" : part.substr(equals + 1);
    char* end = nullptr;
    const double share = std::strtod(number.c_str(), &end);
    require<OptionError>(
        !name.empty() && name.find_first_of("/.\\ ") == std::string::npos && !number.empty() && *end == 0,
        "--split {} is not understood (at \"{}\"; expected for example train=0.8,val=0.2)", text, part);
    require<OptionError>(shares.emplace(name, share).second, "--split names {} twice", name);
  }
  return shares;
}

// Collective.
bool parse(Call& call, ShardOptions& options) {
  using dataset::Layout;
  using dataset::Resize;
  options.ingest.threads = 0;
  auto& ingest = options.ingest;
  Options declared("shard", "turn images into a sharded HDF5 dataset, in parallel over ranks and threads; restartable");
  declared.required("source", options.input.path, "DIR or FILE: where the images are")
      .required("output", ingest.directory,
                "DIR: of the dataset, made if missing; finished shards in it are verified and kept")
      .add("format", options.input.format, format_help())
      .text(
          "classes", [&](const std::string& names) { options.input.classes = comma_separated(names); },
          "NAME,NAME,...: only these classes, in this order")
      .add("limit-per-class", options.input.limit_per_class, "images of a class in each split, chosen by seed; 0: all")
      .text(
          "split", [&](const std::string& shares) { options.input.split = parse_split(shares); },
          "train=0.8,val=0.2: cuts a source without splits, each class in these shares")
      .choice("layout", ingest.layout, {{"raw", Layout::raw}, {"encoded", Layout::encoded}},
              "pixels, or JPEG and PNG files that are decoded when they are read")
      .add("image-size", ingest.image_size, "height and width in pixels; 0: all are as large as the first")
      .choice("resize", ingest.resize,
              {{"squash", Resize::squash}, {"shorter-crop", Resize::shorter_crop}, {"pad", Resize::pad}},
              "each side for itself, or the shorter one and cut the longer, or the longer one and fill with black")
      .add("quality", ingest.quality,
           "encoded: 1 to 100 resizes images and encodes them as JPEG; 0: files are kept as they are")
      .add("deflate", ingest.deflate, "raw: compress in chunks, 1 (fast) to 9 (small); 0: not, which reads fastest")
      .add("shards", ingest.shards, "files per split; 0: by --samples-per-shard")
      .add("samples-per-shard", ingest.samples_per_shard,
           "images in a file; 0: about 128 MiB, and up to 16 small files")
      .add("seed", ingest.seed, "of the order of images over shards, and of what --split and --limit-per-class choose")
      .add("threads", ingest.threads, {0}, "per rank; 0: the processors it may use")
      .flag("skip-bad", options.skip_bad,
            "images that do not decode are no error; they are listed in OUTPUT/quarantine.txt either way");
  if (!read_options(call, declared)) return false;
  options.input.seed = ingest.seed;
  ingest.rank = call.communicator.rank();
  ingest.size = call.communicator.size();
  return true;
}

// Collective: ranks that find different images under one name would write shards of two datasets.
dataset::Sources open_sources(Call& call, const dataset::SourceOptions& input) {
  dataset::Sources sources;
  std::map<std::string, std::string> facts;
  communication::collectively(call.communicator, "looking for images", [&] {
    sources = dataset::open_sources(input);
    for (const auto& [name, source] : sources)
      facts[fmt::format("split '{}'", name)] =
          fmt::format("{} samples of {} classes", source->samples(), source->classes().size());
  });
  communication::require_same(call.communicator, facts, ExitCode::bad_data, "Is --source the same on every node?");
  return sources;
}

// Memory for the counts of ranks that all run on this node; null if they do not.
std::unique_ptr<SharedBlock> share_counts(Call& call) {
  Team& node = call.communicator.node();
  if (node.size() != call.communicator.size()) return nullptr;
  return node.share(sizeof(dataset::IngestCounts), "sharing counts of images");
}

// Every rank's bad samples, listed by rank 0 and in a file of the dataset; true if there is any.
bool report_bad(Call& call, const std::filesystem::path& directory, const std::vector<dataset::BadSample>& bad) {
  std::string mine;
  for (const auto& sample : bad) mine += fmt::format("{}\t{}\t{}\n", sample.split, sample.name, sample.why);
  std::array count{static_cast<std::int64_t>(bad.size())};
  call.communicator.sum(count, "counting bad images");
  const auto lists = call.communicator.all_gather(mine, "gathering bad images");
  const auto quarantine = directory / "quarantine.txt";
  communication::collectively(call.communicator, "listing bad images", [&] {
    if (!call.speaks()) return;
    if (count[0] == 0) {
      std::error_code ignored;
      std::filesystem::remove(quarantine, ignored);
      return;
    }
    std::vector<std::string> lines;
    for (const auto& list : lists) {
      std::istringstream text(list);
      for (std::string line; std::getline(text, line);) lines.push_back(line);
    }
    std::sort(lines.begin(), lines.end());
    write_file(quarantine, fmt::format("{}\n", fmt::join(lines, "\n")));
    fmt::print(stderr, "{} images were left out (they do not decode; all are listed in {}):\n", count[0],
               quarantine.string());
    for (std::size_t i = 0; i < std::min(lines.size(), kBadSamplesShown); ++i) fmt::print(stderr, "  {}\n", lines[i]);
    if (lines.size() > kBadSamplesShown) fmt::print(stderr, "  ...\n");
  });
  return count[0] > 0;
}

}  // namespace

ExitCode shard(Call& call) {
  auto& communicator = call.communicator;
  ShardOptions options;
  if (!parse(call, options)) return ExitCode::done;
  options.ingest.threads = place_this_rank(options.ingest.threads, false, communicator).threads;

  const Stopwatch watch;
  const dataset::Sources sources = open_sources(call, options.input);
  dataset::IngestResult result;
  const auto counts_of_all = share_counts(call);
  if (counts_of_all != nullptr)
    options.ingest.together = reinterpret_cast<dataset::IngestCounts*>(counts_of_all->bytes().data());
  const bool shows_all = counts_of_all != nullptr || communicator.size() == 1;
  communication::collectively(communicator, "ingest", [&] {
    std::optional<telemetry::ProgressLine> line;
    if (call.speaks())
      options.ingest.progress = [&](std::int64_t done, std::int64_t total) {
        if (!line) line.emplace(shows_all ? "shard" : "shard (rank 0's share)", "images", total);
        line->update(done);
      };
    result = dataset::ingest_shards(sources, options.ingest);
    if (line) line->finish();
  });
  const bool bad = report_bad(call, options.ingest.directory, result.bad);
  std::array counts{result.written, result.kept};
  communicator.sum(counts, "counting images");

  dataset::Manifest manifest;
  communication::collectively(communicator, "writing the manifest", [&] {
    if (call.speaks()) manifest = dataset::finish_ingest(sources, options.ingest);
  });
  if (call.speaks()) {
    const double seconds = watch.elapsed();
    fmt::print("{}: {} images written, {} already there, {} classes, {}x{}x{} pixels, {:.2f} s ({:.0f} images/s)\n",
               options.ingest.directory.string(), counts[0], counts[1], manifest.classes.size(), manifest.image.height,
               manifest.image.width, manifest.image.channels, seconds, static_cast<double>(counts[0]) / seconds);
  }
  return bad && !options.skip_bad ? ExitCode::bad_data : ExitCode::done;
}

}  // namespace brigade::cli
