// Opens the shards of a split in the mode that was asked for, or that suits.
#include <algorithm>

#include "brigade/dataset/reader.hpp"
#include "open_shard.hpp"
#include "places.hpp"
#include "shard_reader.hpp"

namespace brigade::dataset {
namespace {

struct Choice {
  ReaderMode mode;
  std::string why = {};
};

std::vector<ShardFile> open_shards(const std::filesystem::path& directory, const Manifest& manifest,
                                   const std::string& split) {
  std::vector<ShardFile> files;
  for (const auto& info : manifest.split(split).shards) {
    files.push_back(open_shard(directory, manifest, split, info));
    require(
        files.back().header().plan == files.front().header().plan,
        "shard {} was made in another run than {} (the plans differ: \"{}\" and \"{}\"). Run `brigade shard` again?",
        files.back().path().string(), files.front().file_name(), files.back().header().plan,
        files.front().header().plan);
  }
  return files;
}

double gigabytes(std::int64_t bytes) { return static_cast<double>(bytes) * 1e-9; }

// Remote storage is read once, as a stream, if there is room for a copy on every node.
Choice choose_for(const std::filesystem::path& directory, std::int64_t bytes, const ReaderOptions& options, Team& job) {
  const FileSystem storage = file_system_of(directory);
  if (job.minimum(storage.remote ? 0 : 1, "comparing file systems") == 1)
    return {ReaderMode::mmap, "contiguous shards on a file system of this node"};
  const std::int64_t memory = job.minimum(free_memory_bytes() / 2, "comparing free memory");
  if (bytes < memory)
    return {ReaderMode::preload,
            fmt::format("{:.2f} GB on {} fit into half of each node's free memory", gigabytes(bytes), storage.name)};
  const FileSystem local = file_system_of(stage_directory(options.stage_directory));
  if (job.minimum(local.remote ? 0 : local.free_bytes, "comparing free storage") > bytes + bytes / 10)
    return {ReaderMode::stage,
            fmt::format("{:.2f} GB on {} do not fit into memory, but into {} of each node", gigabytes(bytes),
                        storage.name, stage_directory(options.stage_directory).string())};
  return {ReaderMode::independent,
          fmt::format("{:.2f} GB on {}, with no room for a copy on the nodes", gigabytes(bytes), storage.name)};
}

Choice choose(const std::filesystem::path& directory, const std::vector<ShardFile>& files, const ReaderOptions& options,
              Team& job) {
  const bool mappable = std::all_of(files.begin(), files.end(), [](const auto& file) { return file.mappable(); });
  const ReaderMode wanted = options.mode;
  const bool maps = wanted == ReaderMode::automatic || wanted == ReaderMode::mmap || wanted == ReaderMode::preload;
  if (maps && !mappable) return {ReaderMode::independent, "images are in compressed chunks, which only HDF5 can read"};
  if (wanted != ReaderMode::automatic) return {wanted};
  std::int64_t bytes = 0;
  for (const auto& file : files) bytes += file.bytes();
  return choose_for(directory, bytes, options, job);
}

void append(std::string& text, const std::string& more) { text += (text.empty() ? "" : "; ") + more; }

}  // namespace

std::string_view name_of(ReaderMode mode) {
  switch (mode) {
    case ReaderMode::automatic: return "auto";
    case ReaderMode::mmap: return "mmap";
    case ReaderMode::independent: return "independent";
    case ReaderMode::collective: return "collective";
    case ReaderMode::preload: return "preload";
    case ReaderMode::stage: return "stage";
  }
  return "?";
}

struct SplitFiles::Impl {
  Choice choice{ReaderMode::automatic};
  std::shared_ptr<SplitIndex> index;
  ReaderMaker make;
};

SplitFiles::SplitFiles(const std::filesystem::path& directory, const Manifest& manifest, const std::string& split,
                       const ReaderOptions& options, Team& job, Team& node)
    : impl_(std::make_unique<Impl>()) {
  const std::string what = fmt::format("opening the shards of split '{}'", split);
  auto& choice = impl_->choice;  // no structured binding: lambdas capture them, which Clang 14 refuses
  auto& index = impl_->index;
  auto& make = impl_->make;
  std::vector<ShardFile> files;
  collectively(job, what, [&] {
    require<OptionError>(options.read_ahead_samples >= 1, "{} samples cannot be read ahead",
                         options.read_ahead_samples);
    files = open_shards(directory, manifest, split);
    index = std::make_shared<SplitIndex>(files, manifest, options.verify);
  });
  choice = choose(directory, files, options, job);
  Prepared prepared;
  if (choice.mode == ReaderMode::preload) {
    make = read_preloaded(std::move(files), index, options.verify, job, node, prepared);
    append(choice.why, fmt::format("{:.3f} GB copied to memory of {} rank{} in {:.2f} s", gigabytes(prepared.bytes),
                                   node.size(), node.size() == 1 ? "" : "s", prepared.seconds));
    return;
  }
  if (choice.mode == ReaderMode::collective) {
    make = read_collectively(std::move(files), index, options.mpi_hints, job);
    return;
  }
  if (choice.mode == ReaderMode::stage) {
    const auto copies =
        stage_shards(directory, manifest.split(split), stage_directory(options.stage_directory), job, node, prepared);
    append(choice.why,
           fmt::format("{:.3f} GB in {}, of which rank 0 copied {:.3f} GB, in {:.2f} s", gigabytes(prepared.bytes),
                       copies.string(), gigabytes(prepared.copied_bytes), prepared.seconds));
    collectively(job, what, [&] { files = open_shards(copies, manifest, split); });
  }
  collectively(job, what, [&] {
    const bool mappable = std::all_of(files.begin(), files.end(), [](const auto& file) { return file.mappable(); });
    make = choice.mode != ReaderMode::independent && mappable
               ? read_through_map(std::move(files), index, options.read_ahead_samples)
               : read_independently(std::move(files), index, options.read_ahead_samples);
  });
}

SplitFiles::~SplitFiles() = default;
SplitFiles::SplitFiles(SplitFiles&&) noexcept = default;
SplitFiles& SplitFiles::operator=(SplitFiles&&) noexcept = default;

std::unique_ptr<SplitReader> SplitFiles::reader() const { return impl_->make(); }
std::int64_t SplitFiles::samples() const { return impl_->index->samples(); }
ReaderMode SplitFiles::mode() const { return impl_->choice.mode; }
const std::string& SplitFiles::why() const { return impl_->choice.why; }

std::unique_ptr<SplitReader> open_split(const std::filesystem::path& directory, const Manifest& manifest,
                                        const std::string& split, const ReaderOptions& options) {
  return SplitFiles(directory, manifest, split, options).reader();
}

}  // namespace brigade::dataset
