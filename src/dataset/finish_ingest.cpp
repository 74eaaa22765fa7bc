// The manifest, once all shards are there.
#include <cmath>

#include "brigade/dataset/ingest.hpp"
#include "ingest_plan.hpp"
#include "shard.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

struct PixelSums {
  std::int64_t pixels = 0;
  ChannelSums of;
};

// mean = sum / n and variance = (n * squares - sum^2) / n^2, the difference in 128-bit integers: nothing cancels.
void set_statistics(const PixelSums& sums, Manifest& manifest) {
  using Wide = unsigned __int128;
  const auto n = static_cast<double>(sums.pixels);
  for (std::size_t c = 0; c < static_cast<std::size_t>(manifest.image.channels) && sums.pixels > 0; ++c) {
    const Wide spread =
        static_cast<Wide>(sums.pixels) * sums.of.squares[c] - static_cast<Wide>(sums.of.sum[c]) * sums.of.sum[c];
    const double deviation = std::sqrt(static_cast<double>(spread)) / n / 255;
    manifest.mean[c] = static_cast<float>(static_cast<double>(sums.of.sum[c]) / n / 255);
    manifest.stddev[c] = deviation > 0 ? static_cast<float>(deviation) : 1.0F;
  }
}

// What is left of runs that were killed while they wrote a shard; no rank writes any more.
void remove_partial_files(const fs::path& directory) {
  std::vector<fs::path> partial;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().filename().string().find(".h5.partial-") != std::string::npos) partial.push_back(entry.path());
  std::error_code ignored;
  for (const auto& path : partial) fs::remove(path, ignored);
}

}  // namespace

Manifest finish_ingest(const Sources& sources, const IngestOptions& options) {
  const auto jobs = plan_jobs(sources, options);
  Manifest manifest;
  manifest.classes = jobs.front().source->classes();
  manifest.image = jobs.front().image;
  manifest.layout = options.layout;
  manifest.resize = options.resize;
  const bool has_train = sources.contains("train");
  PixelSums sums;
  for (const auto& job : jobs) {
    const auto indices = planned_samples(job, options.seed);
    const ShardFile shard(options.directory / job.file());
    const auto& header = shard.header();
    require(same_plan(header, planned_header(job, indices, options)),
            "shard {} is of another ingest (\"{}\"). Run `brigade shard` again?", shard.path().string(), header.plan);
    manifest.splits[job.split].shards.push_back(
        {.file = shard.file_name(), .samples = header.samples, .bytes = shard.bytes()});
    if (has_train && job.split != "train") continue;
    sums.pixels += header.samples * header.image.height * header.image.width;
    sums.of += header.sums;
  }
  set_statistics(sums, manifest);
  remove_partial_files(options.directory);
  write_manifest(options.directory, manifest);
  return manifest;
}

}  // namespace brigade::dataset
