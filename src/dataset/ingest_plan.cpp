// The samples of a split are shuffled by a keyed permutation and cut into equal parts, so each shard is a fair mix of
// the classes, and any rank can write any shard.
#include "ingest_plan.hpp"

#include <algorithm>
#include <bit>

#include "brigade/core/checksum.hpp"
#include "conversion.hpp"

namespace brigade::dataset {
namespace {

constexpr std::int64_t kShardBytes = 128 << 20;
constexpr std::int64_t kSmallShards = 16, kFewestSamples = 256;  // a small split: so many shards, if so large each
constexpr std::int64_t kTypicalCompression = 8;                  // of JPEG, in planning only

// The least that is not below `count`.
std::int64_t power_of_two_from(std::int64_t count) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(count)));
}

// By default, 2, 4, 8 or 16 ranks get equal parts: one shard too many keeps one rank busy and the others waiting.
std::int64_t shards_of(std::int64_t samples, const ImageShape& image, const IngestOptions& options) {
  const auto parts = [](std::int64_t total, std::int64_t part) { return (total + part - 1) / part; };
  if (options.shards > 0) return std::min(options.shards, samples);
  if (options.samples_per_shard > 0) return parts(samples, options.samples_per_shard);
  const std::int64_t bytes = options.layout == Layout::raw ? image.size() : image.size() / kTypicalCompression + 1;
  const std::int64_t in_full_shard = std::max<std::int64_t>(1, kShardBytes / bytes);
  const std::int64_t small = std::min(kSmallShards, parts(samples, kFewestSamples));
  const std::int64_t count = std::max(parts(samples, in_full_shard), small);
  return std::min(samples, count < kSmallShards ? power_of_two_from(count) : parts(count, kSmallShards) * kSmallShards);
}

std::string conversion_text(const Source& source, const IngestOptions& options) {
  std::string text;
  if (options.image_size > 0) {
    constexpr std::array kWords{"squash", "shorter-crop", "pad"};
    text += fmt::format(", {}", kWords.at(static_cast<std::size_t>(options.resize)));
  }
  if (options.layout == Layout::encoded && options.quality > 0) text += fmt::format(", JPEG {}", options.quality);
  if (options.layout == Layout::encoded && options.quality == 0) text += source.pixels() ? ", PNG" : ", files kept";
  if (options.deflate > 0) text += fmt::format(", deflate {}", options.deflate);
  return text;
}

void check(const IngestOptions& options) {
  require<OptionError>(options.samples_per_shard >= 0, "a shard of {} samples cannot be made",
                       options.samples_per_shard);
  require<OptionError>(options.shards >= 0, "{} shards cannot be made", options.shards);
  require<OptionError>(options.image_size >= 0 && options.image_size <= 4096,
                       "images cannot be scaled to {} pixels (1 to 4096, or 0 to leave them as they are)",
                       options.image_size);
  require<OptionError>(options.deflate >= 0 && options.deflate <= 9, "there is no deflate level {} (0 to 9)",
                       options.deflate);
  require<OptionError>(options.deflate == 0 || options.layout == Layout::raw,
                       "encoded images are not deflated (they are compressed already). Leave it out?");
  require<OptionError>(options.quality >= 0 && options.quality <= 100, "there is no JPEG quality {} (1 to 100, or 0)",
                       options.quality);
  require<OptionError>(options.quality == 0 || options.layout == Layout::encoded,
                       "a JPEG quality belongs to encoded images (these are raw). Leave it out?");
}

}  // namespace

std::string Job::file() const { return fmt::format("{}-{:05}-of-{:05}.h5", split, index, count); }

std::vector<Job> plan_jobs(const Sources& sources, const IngestOptions& options) {
  check(options);
  const ImageShape image = image_of(sources, options);
  std::vector<Job> jobs;
  for (const auto& [split, source] : sources) {
    const std::int64_t samples = source->samples();
    require(samples >= 1, "split '{}' holds no samples", split);
    const std::int64_t count = shards_of(samples, image, options);
    for (std::int64_t index = 0; index < count; ++index)
      jobs.push_back({.split = split,
                      .source = source.get(),
                      .image = image,
                      .index = index,
                      .count = count,
                      .places = part_of(samples, index, count)});
  }
  return jobs;
}

std::vector<std::int64_t> planned_samples(const Job& job, std::uint64_t seed) {
  const Permutation order(job.source->samples(), seed, 0, Purpose::ingest_order);
  std::vector<std::int64_t> indices;
  for (std::int64_t place = job.places.begin; place < job.places.end; ++place) indices.push_back(order(place));
  return indices;
}

ShardHeader planned_header(const Job& job, const std::vector<std::int64_t>& indices, const IngestOptions& options) {
  const Source& source = *job.source;
  const auto classes = source.classes();
  const auto& image = job.image;
  ShardHeader header{.layout = options.layout,
                     .split = job.split,
                     .index = job.index,
                     .plan = fmt::format("{} samples in {} shards, seed {}, {}x{}x{} pixels{}, {} classes",
                                         source.samples(), job.count, options.seed, image.height, image.width,
                                         image.channels, conversion_text(source, options), classes.size()),
                     .plan_checksum = 0,
                     .classes = static_cast<std::int64_t>(classes.size()),
                     .image = image,
                     .samples = static_cast<std::int64_t>(indices.size()),
                     .sums = {}};
  std::uint32_t checksum = 0;
  const auto add = [&](const std::string& text) {
    checksum = crc32c(std::as_bytes(std::span(text.c_str(), text.size() + 1)), checksum);
  };
  add(header.plan);
  for (const auto& name : classes) add(name);
  for (const std::int64_t index : indices) add(fmt::format("{} {}", source.label(index), source.name(index)));
  header.plan_checksum = checksum;
  return header;
}

bool same_plan(const ShardHeader& a, const ShardHeader& b) {
  return a.layout == b.layout && a.split == b.split && a.index == b.index && a.plan == b.plan &&
         a.plan_checksum == b.plan_checksum && a.classes == b.classes && a.image == b.image;
}

}  // namespace brigade::dataset
