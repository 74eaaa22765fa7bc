#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "brigade/core/clock.hpp"
#include "brigade/dataset/ingest.hpp"
#include "brigade/telemetry/progress.hpp"
#include "commands.hpp"
#include "options.hpp"

namespace brigade::cli {
namespace {

constexpr std::size_t kBadSamplesShown = 10;

struct ShardOptions {
  std::string source, output;
  dataset::SourceOptions input;
  dataset::IngestOptions ingest;
  bool skip_bad = false;
};

bool parse(Call& call, ShardOptions& options) {
  Options declared("shard", "turn images into a sharded HDF5 dataset, in parallel over ranks; restartable");
  declared.required("source", options.source, "DIR: where the images are")
      .required("output", options.output,
                "DIR: of the dataset, made if missing; finished shards in it are verified and kept")
      .add("format", options.input.format,
           "auto|idx|cifar|folder: gzip or plain IDX files, CIFAR binaries, or a directory per class of JPEG and PNG")
      .add("image-size", options.input.image_size,
           "folder: scale images to this height and width in pixels; 0: all are as large as the first")
      .add("samples-per-shard", options.ingest.samples_per_shard, "images in a shard file")
      .add("seed", options.ingest.seed, "of the order of images over shards")
      .flag("skip-bad", options.skip_bad, "images that do not decode are listed, but are no error");
  const bool run = declared.parse(call.arguments, call.speaks());
  options.input.path = options.source;
  options.ingest.directory = options.output;
  options.ingest.rank = call.communicator.rank();
  options.ingest.size = call.communicator.size();
  if (run)
    require<OptionError>(options.ingest.samples_per_shard > 0, "--samples-per-shard {} is not positive",
                         options.ingest.samples_per_shard);
  return run;
}

// Every rank's bad samples, listed by rank 0; true if there is any.
bool report_bad(Call& call, const std::vector<dataset::BadSample>& bad) {
  std::string mine;
  for (const auto& sample : bad) mine += fmt::format("  {}: {}\n", sample.name, sample.why);
  std::array count{static_cast<std::int64_t>(bad.size())};
  call.communicator.sum(count, "counting bad images");
  const auto lists = call.communicator.all_gather(mine, "gathering bad images");
  if (count[0] == 0 || !call.speaks()) return count[0] > 0;
  std::string all;
  for (const auto& list : lists) all += list;
  std::size_t end = 0;
  for (std::size_t line = 0; line < kBadSamplesShown && end < all.size(); ++line) end = all.find('\n', end) + 1;
  fmt::print(stderr, "{} images were left out (they do not decode):\n{}{}", count[0], all.substr(0, end),
             end < all.size() ? "  ...\n" : "");
  return true;
}

}  // namespace

ExitCode shard(Call& call) {
  auto& communicator = call.communicator;
  ShardOptions options;
  bool run = false;
  std::map<std::string, std::unique_ptr<dataset::Source>> sources;
  communication::collectively(communicator, "reading the options", [&] { run = parse(call, options); });
  if (!run) return ExitCode::done;

  const Stopwatch watch;
  dataset::IngestResult result;
  communication::collectively(communicator, "ingest", [&] {
    sources = dataset::open_sources(options.input);
    std::optional<telemetry::ProgressLine> line;
    if (call.speaks())
      options.ingest.progress = [&](std::int64_t done, std::int64_t total) {
        if (!line) line.emplace(communicator.size() > 1 ? "shard (rank 0's share)" : "shard", "images", total);
        line->update(done);
      };
    result = dataset::ingest_shards(sources, options.ingest);
    if (line) line->finish();
  });
  const bool bad = report_bad(call, result.bad);
  std::array counts{result.written, result.kept};
  communicator.sum(counts, "counting images");

  dataset::Manifest manifest;
  communication::collectively(communicator, "writing the manifest", [&] {
    if (call.speaks()) manifest = dataset::finish_ingest(sources, options.ingest);
  });
  if (call.speaks()) {
    const double seconds = watch.elapsed();
    fmt::print("{}: {} images written, {} already there, {} classes, {}x{}x{} pixels, {:.2f} s ({:.0f} images/s)\n",
               options.output, counts[0], counts[1], manifest.classes.size(), manifest.image.height,
               manifest.image.width, manifest.image.channels, seconds, static_cast<double>(counts[0]) / seconds);
  }
  return bad && !options.skip_bad ? ExitCode::bad_data : ExitCode::done;
}

}  // namespace brigade::cli
