#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <numeric>
#include <random>

#include "brigade/core/clock.hpp"
#include "brigade/dataset/contact_sheet.hpp"
#include "brigade/dataset/ingest.hpp"
#include "brigade/dataset/sampling.hpp"
#include "brigade/dataset/shuffle_quality.hpp"
#include "brigade/training/same_dataset.hpp"
#include "commands.hpp"
#include "options.hpp"
#include "start_check.hpp"

namespace brigade::cli {
namespace {

struct SplitTotals {
  std::int64_t shards = 0, bytes = 0;
  std::vector<std::int64_t> classes;
};

void print_summary(const dataset::Manifest& manifest, const std::map<std::string, SplitTotals>& totals) {
  fmt::print("{} classes, images {}x{}x{}", manifest.classes.size(), manifest.image.height, manifest.image.width,
             manifest.image.channels);
  for (std::int64_t c = 0; c < manifest.image.channels; ++c)
    fmt::print("{} {:.4f} +- {:.4f}", c == 0 ? "; pixel mean and deviation (of 0..1)" : ",",
               manifest.mean[static_cast<std::size_t>(c)], manifest.stddev[static_cast<std::size_t>(c)]);
  fmt::print("\n\n{:<24}", "class");
  for (const auto& [name, split] : totals) fmt::print("{:>12}", name);
  fmt::print("\n");
  for (std::size_t label = 0; label < manifest.classes.size(); ++label) {
    fmt::print("{:<24}", manifest.classes[label]);
    for (const auto& [name, split] : totals) fmt::print("{:>12}", split.classes[label]);
    fmt::print("\n");
  }
  for (const char* what : {"images", "shards", "MB"}) {
    fmt::print("{:<24}", what);
    for (const auto& [name, split] : totals) {
      const std::string_view row = what;
      if (row == "images") fmt::print("{:>12}", manifest.split(name).samples());
      if (row == "shards") fmt::print("{:>12}", split.shards);
      if (row == "MB") fmt::print("{:>12.1f}", static_cast<double>(split.bytes) * 1e-6);
    }
    fmt::print("\n");
  }
}

struct SheetCommand {
  std::filesystem::path file;
  std::string augment = "none", split = "train";
  dataset::ContactSheetOptions sheet;

  void declare(Options& options) {
    options.optional("contact-sheet", file, "FILE.png: draw pictures as stored and as --augment makes them, and exit")
        .add("augment", augment, "WORD[=VALUE],...: see `brigade train --help`")
        .add("image-size", sheet.image_size, "of augmented pictures, as in `brigade train`; 0: as stored")
        .add("seed", sheet.seed, "of order and augmentation, as in `brigade train`")
        .add("split", split, "of the contact sheet or of --shuffle-quality")
        .add("pictures", sheet.pictures, "rows of the contact sheet")
        .add("versions", sheet.versions, "augmented versions of each: epoch 1, 2, ...");
  }

  void draw(const std::filesystem::path& directory, const dataset::Manifest& manifest) {
    sheet.augmentation = dataset::parse_augmentation(augment);
    sheet.mean = manifest.mean;
    sheet.stddev = manifest.stddev;
    dataset::write_contact_sheet(
        file, [&] { return dataset::open_split(directory, manifest, split); }, sheet);
    fmt::print("{}: {}\n", file.string(), dataset::to_string(sheet.augmentation));
  }
};

struct ShuffleCommand {
  bool wanted = false;
  dataset::OrderOptions order{.shuffle = dataset::Shuffle::block};
  std::int64_t batch = 128;

  void declare(Options& options) {
    options.flag("shuffle-quality", wanted, "measure orders of samples against a true shuffle, and exit")
        .add("batch-size", batch, "images per optimizer step, over all ranks, for --shuffle-quality")
        .add("shuffle-block", order.block, "samples of a block, for --shuffle-quality");
  }

  void print(const std::filesystem::path& directory, const dataset::Manifest& manifest, const std::string& split,
             std::uint64_t seed) const {
    const auto labels = dataset::read_labels(directory, manifest, split);
    const auto samples = static_cast<std::int64_t>(labels.size());
    fmt::print("{} samples of split '{}', batches of {}, one epoch; a true shuffle has 1, 0 +- 1, 1 and {:.4f} %\n\n",
               samples, split, batch, 200 / static_cast<double>(samples));
    fmt::print("{:<20}{:>18}{:>14}{:>22}{:>22}\n", "order", "class imbalance", "(sigmas)", "neighbour distance",
               "next to each other, %");
    const auto row = [&](const std::string& name, const std::function<std::int64_t(std::int64_t)>& order_of) {
      const auto quality = dataset::measure_shuffle(labels, batch, order_of);
      fmt::print("{:<20}{:>18.3f}{:>14.1f}{:>22.3f}{:>22.4f}\n", name, quality.imbalance, quality.imbalance_z,
                 quality.neighbour_distance, 100 * quality.neighbours);
    };
    std::vector<std::int64_t> reference(labels.size());
    std::iota(reference.begin(), reference.end(), std::int64_t{0});
    std::shuffle(reference.begin(), reference.end(), std::mt19937_64(seed));
    row("std::shuffle", [&](std::int64_t i) { return reference[static_cast<std::size_t>(i)]; });
    for (const auto shuffle : {dataset::Shuffle::full, dataset::Shuffle::block, dataset::Shuffle::none}) {
      const dataset::OrderOptions how{.shuffle = shuffle, .block = order.block};
      const dataset::SampleOrder order_of(samples, seed, 0, how);
      row(dataset::to_string(how), order_of);
    }
  }
};

// Collective.
void verify(Call& call, const std::filesystem::path& directory, const dataset::Manifest& manifest) {
  auto& communicator = call.communicator;
  const Stopwatch watch;
  std::vector<dataset::ShardReport> reports;
  communication::collectively(communicator, "verifying the dataset", [&] {
    reports = dataset::verify_shards(directory, manifest, communicator.rank(), communicator.size());
  });
  std::map<std::string, SplitTotals> totals;
  for (const auto& [name, split] : manifest.splits) totals[name].classes.resize(manifest.classes.size());
  for (const auto& report : reports) {
    auto& split = totals[report.split];
    ++split.shards;
    split.bytes += report.info.bytes;
    std::transform(report.class_counts.begin(), report.class_counts.end(), split.classes.begin(), split.classes.begin(),
                   std::plus<>());
  }
  std::int64_t bytes = 0;
  for (auto& [name, split] : totals) {
    std::array counts{split.shards, split.bytes};
    communicator.sum(counts, "adding up shards");
    communicator.sum(split.classes, "adding up class counts");
    split.shards = counts[0];
    bytes += split.bytes = counts[1];
  }
  if (!call.speaks()) return;
  print_summary(manifest, totals);
  const double seconds = watch.elapsed();
  fmt::print("\nevery checksum is right ({:.2f} s, {:.0f} MB/s)\n", seconds,
             static_cast<double>(bytes) * 1e-6 / seconds);
}

}  // namespace

ExitCode inspect(Call& call) {
  auto& communicator = call.communicator;
  std::filesystem::path directory;
  Options options("inspect", "verify every checksum of a dataset, in parallel over ranks, and summarise it");
  options.required("dataset", directory, "DIR: of the dataset");
  SheetCommand sheet;
  sheet.declare(options);
  ShuffleCommand shuffle;
  shuffle.declare(options);
  if (!read_options(call, options)) return ExitCode::done;

  dataset::Manifest manifest;
  communication::collectively(communicator, "opening the dataset", [&] {
    require<OptionError>(sheet.augment == "none" || !sheet.file.empty(), "--augment needs --contact-sheet FILE.png");
    manifest = dataset::read_manifest(directory);
  });
  training::require_same_dataset(communicator, directory, manifest);
  if (!sheet.file.empty() || shuffle.wanted) {
    communication::collectively(communicator, "looking at samples", [&] {
      if (!call.speaks()) return;
      if (!sheet.file.empty()) return sheet.draw(directory, manifest);
      shuffle.print(directory, manifest, sheet.split, sheet.sheet.seed);
    });
    return ExitCode::done;
  }
  verify(call, directory, manifest);
  return ExitCode::done;
}

}  // namespace brigade::cli
