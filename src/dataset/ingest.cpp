// Writing shards. A shard says in its attributes what was planned for it; a restart keeps the shards that are there,
// say the right thing and are whole. Within a shard the samples go through memory in pieces: threads decode a piece,
// each sample to its own place, and one of them writes it, so the bytes do not depend on the number of threads.
#include "brigade/dataset/ingest.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "conversion.hpp"
#include "ingest_plan.hpp"
#include "shard.hpp"
#include "workers.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPieceBytes = 4 << 20;  // of pixels, held in memory at a time
constexpr std::size_t kMostFilesInPiece = 64;  // that are kept as they are: each may be much larger than its pixels

// Samples on their way into a shard.
struct Piece {
  std::vector<std::vector<std::uint8_t>> stored;  // of each sample
  std::vector<StoredSample> samples;
  std::vector<std::optional<BadSample>> bad;
  std::vector<std::uint8_t> bytes;  // all of `stored`, one after another

  void resize(std::size_t count) {
    stored.resize(std::max(stored.size(), count));
    samples.assign(count, {});
    bad.assign(count, std::nullopt);
  }
  void join() {
    bytes.clear();
    for (std::size_t i = 0; i < samples.size(); ++i) bytes.insert(bytes.end(), stored[i].begin(), stored[i].end());
  }
};

// One rank's work on one dataset.
class Ingest {
 public:
  Ingest(const Sources& sources, const IngestOptions& options) : options_(options), jobs_(plan_jobs(sources, options)) {
    if (options.together == nullptr)
      std::erase_if(jobs_, [&, number = 0](const Job&) mutable { return number++ % options.size != options.rank; });
    for (const auto& job : jobs_) total_ += job.places.size();
  }

  IngestResult run() {
    try {
      for (std::size_t next = claim(); next < jobs_.size(); next = claim()) work_on(jobs_[next]);
    } catch (...) {
      std::atomic_ref(counts_.claimed) += std::ssize(jobs_);  // the others finish what they have begun
      throw;
    }
    return std::move(result_);
  }

 private:
  fs::path path(const Job& job) const { return options_.directory / job.file(); }

  std::size_t claim() { return static_cast<std::size_t>(std::atomic_ref(counts_.claimed).fetch_add(1)); }

  void work_on(const Job& job) {
    const auto indices = planned_samples(job, options_.seed);
    const auto header = planned_header(job, indices, options_);
    done_in_job_ = 0;
    if (!keep(job, header)) write(job, header, indices);
    progress(job.places.size() - done_in_job_);
  }

  void progress(std::int64_t samples) {
    done_in_job_ += samples;
    const std::int64_t done = std::atomic_ref(counts_.done) += samples;
    if (options_.progress && samples != 0) options_.progress(done, total_);
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
      if (file.mappable() != (options_.deflate == 0 || file.header().samples == 0)) return false;
      shard.verify_all();
      for (const std::int64_t index : file.skipped())
        if (index < 0 || index >= job.source->samples()) return false;
      convert(job, file.skipped());
      for (const auto& still : piece_.bad) {
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
      const std::unordered_set<std::int64_t> left_out(bad.begin(), bad.end());
      std::erase_if(indices, [&](std::int64_t index) { return left_out.contains(index); });
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
    ShardWriter writer(path(job), header, name_bytes, options_.deflate);
    std::vector<std::int64_t> bad;
    auto in_piece = static_cast<std::size_t>(std::max<std::int64_t>(1, kPieceBytes / header.image.size()));
    if (header.layout == Layout::encoded) in_piece = std::min(in_piece, kMostFilesInPiece);
    for (std::size_t begin = 0; begin < indices.size(); begin += in_piece) {
      const auto piece = std::span(indices).subspan(begin, std::min(in_piece, indices.size() - begin));
      convert(job, piece);
      for (std::size_t i = 0; i < piece.size(); ++i)
        if (piece_.bad[i]) {
          bad.push_back(piece[i]);
          result_.bad.push_back(*piece_.bad[i]);
        }
      if (bad.empty()) {
        piece_.join();
        writer.append(piece_.bytes, piece_.samples);
      }
      progress(skipped.empty() ? static_cast<std::int64_t>(piece.size()) : 0);
    }
    if (bad.empty()) writer.finish(labels, names, skipped);
    return bad;
  }

  // Fills piece_ with these samples of the source.
  void convert(const Job& job, std::span<const std::int64_t> indices) {
    const Conversion conversion(*job.source, job.image, options_);
    piece_.resize(indices.size());
    for_each_in_parallel(static_cast<std::int64_t>(indices.size()), options_.threads, [&](std::int64_t place) {
      const auto i = static_cast<std::size_t>(place);
      try {
        piece_.samples[i] = conversion(indices[i], piece_.stored[i]);
      } catch (const DataError& error) {
        piece_.bad[i] = BadSample{.split = job.split, .name = job.source->name(indices[i]), .why = error.what()};
      }
    });
  }

  const IngestOptions& options_;
  std::vector<Job> jobs_;
  IngestCounts own_;
  IngestCounts& counts_ = options_.together == nullptr ? own_ : *options_.together;
  std::int64_t total_ = 0, done_in_job_ = 0;  // samples
  Piece piece_;
  IngestResult result_;
};

}  // namespace

IngestResult ingest_shards(const Sources& sources, const IngestOptions& options) {
  EXPECT(options.rank >= 0 && options.rank < options.size && options.threads >= 1);
  std::error_code error;
  fs::create_directories(options.directory, error);
  require(!error, "cannot make the directory {} ({})", options.directory.string(), error.message());
  return Ingest(sources, options).run();
}

}  // namespace brigade::dataset
