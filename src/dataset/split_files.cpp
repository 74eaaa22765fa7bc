// Opens the shards of a split in the mode that was asked for, or that suits.
#include <algorithm>

#include "brigade/dataset/reader.hpp"
#include "open_shard.hpp"
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

Choice choose(ReaderMode wanted, bool mappable) {
  const bool maps = wanted == ReaderMode::mmap || wanted == ReaderMode::preload || wanted == ReaderMode::stage;
  if (maps && !mappable) return {ReaderMode::independent, "images are in compressed chunks, which only HDF5 can read"};
  if (wanted != ReaderMode::automatic) return {wanted};
  if (!mappable) return choose(ReaderMode::mmap, false);
  return {ReaderMode::mmap, "the shards are contiguous"};
}

ReaderMaker open_as(ReaderMode mode, std::vector<ShardFile> files, const std::shared_ptr<SplitIndex>& index) {
  switch (mode) {
    case ReaderMode::mmap: return read_through_map(std::move(files), index);
    case ReaderMode::independent: return read_independently(std::move(files), index);
    default:
      throw NotCompiled(fmt::format(
          "reader `{}` is not part of this version of Brigade. Use --reader mmap or independent?", name_of(mode)));
  }
}

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
                       const ReaderOptions& options, Team& job, Team& /*node*/)
    : impl_(std::make_unique<Impl>()) {
  const std::string what = fmt::format("opening the shards of split '{}'", split);
  collectively(job, what, [&] {
    auto files = open_shards(directory, manifest, split);
    impl_->index = std::make_shared<SplitIndex>(files, manifest, options.verify);
    const bool mappable = std::all_of(files.begin(), files.end(), [](const auto& file) { return file.mappable(); });
    impl_->choice = choose(options.mode, mappable);
    impl_->make = open_as(impl_->choice.mode, std::move(files), impl_->index);
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
