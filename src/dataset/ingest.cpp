// Ingest. Which samples go into which shard, and in which order, is a function of the source and the seed alone: the
// samples of a split are shuffled by a keyed permutation and cut into equal parts, so each shard is a fair mix of the
// classes, and any rank can write any shard. A shard says in its attributes what was planned for it; a restart keeps
// the shards that are there, say the right thing and are whole.
#include "brigade/dataset/ingest.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "brigade/core/checksum.hpp"
#include "brigade/dataset/sampling.hpp"
#include "shard.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;
using Sources = std::map<std::string, std::unique_ptr<Source>>;

constexpr std::int64_t kPieceBytes = 4 << 20;  // of pixels, held in memory at a time

// One shard that should be there when ingest has finished.
struct Job {
  std::string split;
  const Source* source = nullptr;
  std::int64_t index = 0, count = 0;  // of the shards of the split
  Range places;                       // in the shuffled split

  std::string file() const { return fmt::format("{}-{:05}-of-{:05}.h5", split, index, count); }
};

// The shards of all splits in one row; rank r does the jobs r, r + size, ...
std::vector<Job> plan_jobs(const Sources& sources, std::int64_t samples_per_shard) {
  require<OptionError>(samples_per_shard >= 1, "a shard of {} samples cannot be made", samples_per_shard);
  std::vector<Job> jobs;
  for (const auto& [split, source] : sources) {
    const std::int64_t samples = source->samples();
    require(samples >= 1, "split '{}' holds no samples", split);
    const std::int64_t count = (samples + samples_per_shard - 1) / samples_per_shard;
    for (std::int64_t index = 0; index < count; ++index)
      jobs.push_back({.split = split,
                      .source = source.get(),
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

// What makes the shard this shard and no other: written into it, and compared by a restart.
ShardHeader planned_header(const Job& job, const std::vector<std::int64_t>& indices, std::uint64_t seed) {
  const Source& source = *job.source;
  const auto classes = source.classes();
  const auto image = source.image();
  ShardHeader header{
      .split = job.split,
      .index = job.index,
      .plan = fmt::format("{} samples in {} shards, seed {}, {}x{}x{} pixels, {} classes", source.samples(), job.count,
                          seed, image.height, image.width, image.channels, classes.size()),
      .plan_checksum = 0,
      .classes = static_cast<std::int64_t>(classes.size()),
      .image = image,
      .samples = static_cast<std::int64_t>(indices.size())};
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
  return a.split == b.split && a.index == b.index && a.plan == b.plan && a.plan_checksum == b.plan_checksum &&
         a.classes == b.classes && a.image == b.image;
}

// One rank's work on one dataset.
class Ingest {
 public:
  Ingest(const Sources& sources, const IngestOptions& options)
      : options_(options), jobs_(plan_jobs(sources, options.samples_per_shard)) {
    std::erase_if(jobs_, [&, number = 0](const Job&) mutable { return number++ % options.size != options.rank; });
    for (const auto& job : jobs_) total_ += job.places.size();
  }

  IngestResult run() {
    for (const auto& job : jobs_) {
      const auto indices = planned_samples(job, options_.seed);
      const auto header = planned_header(job, indices, options_.seed);
      const std::int64_t done_before = done_;
      if (!keep(job, header)) write(job, header, indices);
      progress(done_before + job.places.size() - done_);
    }
    return std::move(result_);
  }

 private:
  fs::path path(const Job& job) const { return options_.directory / job.file(); }

  void progress(std::int64_t samples) {
    done_ += samples;
    if (options_.progress && samples != 0) options_.progress(done_, total_);
  }

  // True if an earlier run left this shard finished and intact. What it skipped is tried again.
  bool keep(const Job& job, const ShardHeader& planned) {
    if (!fs::exists(path(job))) return false;
    std::vector<BadSample> bad;
    try {
      const MappedShard shard{ShardFile(path(job))};
      const auto& file = shard.file();
      const auto skipped = static_cast<std::int64_t>(file.skipped().size());
      if (!same_plan(file.header(), planned) || file.header().samples + skipped != planned.samples) return false;
      shard.verify_all();
      for (const std::int64_t index : file.skipped()) {
        if (index < 0 || index >= job.source->samples()) return false;
        const auto still = try_read(job, index, piece(job, 1));
        if (!still) return false;
        bad.push_back(*still);
      }
      result_.kept += file.header().samples;
    } catch (const DataError&) {
      return false;
    }
    result_.bad.insert(result_.bad.end(), bad.begin(), bad.end());
    return true;
  }

  // A shard's place in its file is taken before its images are decoded; if some do not decode, it is written once
  // more without them.
  void write(const Job& job, ShardHeader header, std::vector<std::int64_t> indices) {
    std::error_code ignored;
    fs::remove(options_.directory / "manifest.json", ignored);  // no longer true of all shards
    std::vector<std::int64_t> skipped;
    for (;;) {
      header.samples = static_cast<std::int64_t>(indices.size());
      const auto bad = write_once(job, header, indices, skipped);
      if (bad.empty()) break;
      skipped.insert(skipped.end(), bad.begin(), bad.end());
      std::erase_if(indices, [&](std::int64_t i) { return std::find(bad.begin(), bad.end(), i) != bad.end(); });
    }
    result_.written += header.samples;
  }

  // Returns the samples that do not decode; if there are none, the shard is finished.
  std::vector<std::int64_t> write_once(const Job& job, const ShardHeader& header,
                                       const std::vector<std::int64_t>& indices,
                                       const std::vector<std::int64_t>& skipped) {
    std::vector<std::int32_t> labels;
    std::vector<std::string> names;
    std::size_t name_bytes = 0;
    for (const std::int64_t index : indices) {
      labels.push_back(job.source->label(index));
      names.push_back(job.source->name(index));
      name_bytes = std::max(name_bytes, names.back().size());
    }
    ShardWriter writer(path(job), header, name_bytes);
    std::vector<std::int64_t> bad;
    const std::int64_t in_piece = std::max<std::int64_t>(1, kPieceBytes / header.image.size());
    for (std::int64_t begin = 0; begin < header.samples; begin += in_piece) {
      const std::int64_t count = std::min(in_piece, header.samples - begin);
      std::uint8_t* pixels = piece(job, in_piece);
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t index = indices[static_cast<std::size_t>(begin + i)];
        if (const auto failure = try_read(job, index, pixels + i * header.image.size())) {
          bad.push_back(index);
          result_.bad.push_back(*failure);
        }
      }
      if (bad.empty()) writer.append(pixels, count);
      progress(skipped.empty() ? count : 0);
    }
    if (bad.empty()) writer.finish(labels, names, skipped);
    return bad;
  }

  std::optional<BadSample> try_read(const Job& job, std::int64_t index, std::uint8_t* pixels) const {
    try {
      job.source->read(index, pixels);
      return std::nullopt;
    } catch (const DataError& error) {
      return BadSample{.split = job.split, .name = job.source->name(index), .why = error.what()};
    }
  }

  std::uint8_t* piece(const Job& job, std::int64_t samples) {
    pixels_.resize(std::max(pixels_.size(), static_cast<std::size_t>(samples * job.source->image().size())));
    return pixels_.data();
  }

  const IngestOptions& options_;
  std::vector<Job> jobs_;
  std::int64_t total_ = 0, done_ = 0;
  std::vector<std::uint8_t> pixels_;
  IngestResult result_;
};

// Exact sums over all pixels of a channel.
struct ChannelSums {
  std::int64_t pixels = 0;
  std::array<std::uint64_t, 3> sum{}, squares{};
};

// mean = sum / n and variance = (n * squares - sum^2) / n^2, the difference in 128-bit integers: nothing cancels.
void set_statistics(const ChannelSums& sums, Manifest& manifest) {
  using Wide = unsigned __int128;
  const auto n = static_cast<double>(sums.pixels);
  for (std::size_t c = 0; c < static_cast<std::size_t>(manifest.image.channels) && sums.pixels > 0; ++c) {
    const Wide spread = static_cast<Wide>(sums.pixels) * sums.squares[c] - static_cast<Wide>(sums.sum[c]) * sums.sum[c];
    const double deviation = std::sqrt(static_cast<double>(spread)) / n / 255;
    manifest.mean[c] = static_cast<float>(static_cast<double>(sums.sum[c]) / n / 255);
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

IngestResult ingest_shards(const Sources& sources, const IngestOptions& options) {
  EXPECT(options.rank >= 0 && options.rank < options.size);
  std::error_code error;
  fs::create_directories(options.directory, error);
  require(!error, "cannot make the directory {} ({})", options.directory.string(), error.message());
  return Ingest(sources, options).run();
}

Manifest finish_ingest(const Sources& sources, const IngestOptions& options) {
  require(!sources.empty(), "there is nothing to ingest");
  const Source& first = *sources.begin()->second;
  Manifest manifest;
  manifest.classes = first.classes();
  manifest.image = first.image();
  const bool has_train = sources.contains("train");
  ChannelSums sums;
  for (const auto& job : plan_jobs(sources, options.samples_per_shard)) {
    require(job.source->classes() == manifest.classes && job.source->image() == manifest.image,
            "split '{}' has other classes or another image size than split '{}'", job.split, sources.begin()->first);
    const auto indices = planned_samples(job, options.seed);
    const ShardFile shard(options.directory / job.file());
    const auto& header = shard.header();
    require(same_plan(header, planned_header(job, indices, options.seed)),
            "shard {} is of another ingest (\"{}\"). Run `brigade shard` again?", shard.path().string(), header.plan);
    manifest.splits[job.split].shards.push_back(
        {.file = shard.file_name(), .samples = header.samples, .bytes = shard.bytes()});
    if (has_train && job.split != "train") continue;
    sums.pixels += header.samples * header.image.height * header.image.width;
    for (std::size_t c = 0; c < 3; ++c) {
      sums.sum[c] += header.channel_sum[c];
      sums.squares[c] += header.channel_square_sum[c];
    }
  }
  set_statistics(sums, manifest);
  remove_partial_files(options.directory);
  write_manifest(options.directory, manifest);
  return manifest;
}

}  // namespace brigade::dataset
