// Random access over the shards of a split. Two ways to the same pixels:
//
// mmap         a sample is copied out of the page cache. While pages come from storage, the kernel is asked for all
//              samples of a batch before the first is waited for, so that storage sees a deep queue.
// independent  H5Dread, in file order, neighbours together; for file systems whose mappings are slow or unreliable,
//              and for compressed chunks, which only HDF5 can read.
#include "brigade/dataset/reader.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "open_shard.hpp"
#include "shard.hpp"

namespace brigade::dataset {
namespace {

struct Location {
  std::size_t shard;
  std::int64_t row;
};

// The samples of all shards in one row.
class Directory {
 public:
  void add(std::int64_t samples) { ends_.push_back(samples + this->samples()); }
  std::int64_t samples() const { return ends_.empty() ? 0 : ends_.back(); }
  Location find(std::int64_t index) const {
    require(index >= 0 && index < samples(), "there is no sample {} (the split has {})", index, samples());
    const auto shard = static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), index) - ends_.begin());
    return {.shard = shard, .row = index - (shard == 0 ? 0 : ends_[shard - 1])};
  }

 private:
  std::vector<std::int64_t> ends_;
};

// What both readers share: the directory, and which samples were seen.
class ReaderBase : public SplitReader {
 public:
  ReaderBase(const std::vector<ShardFile>& files, const Manifest& manifest, Verify verify)
      : format_{.image = manifest.image, .layout = manifest.layout, .resize = manifest.resize}, verify_(verify) {
    for (const auto& file : files) directory_.add(file.header().samples);
    seen_.resize(static_cast<std::size_t>(directory_.samples()));
  }
  std::int64_t samples() const override { return directory_.samples(); }
  const SampleFormat& format() const override { return format_; }

 protected:
  const Directory& directory() const { return directory_; }
  bool seen(std::int64_t index) const { return seen_[static_cast<std::size_t>(index)]; }

  // To be called before sample `index` is given away.
  template <class Name>
  void check(std::int64_t index, const ShardFile& file, std::int64_t row, std::span<const std::byte> stored,
             Name&& name) {
    if (verify_ == Verify::always || (verify_ == Verify::first && !seen(index))) file.verify(row, stored, name);
    seen_[static_cast<std::size_t>(index)] = true;
  }

 private:
  SampleFormat format_;
  Verify verify_;
  Directory directory_;
  std::vector<bool> seen_;
};

class MmapReader final : public ReaderBase {
 public:
  MmapReader(std::vector<ShardFile> files, const Manifest& manifest, Verify verify)
      : ReaderBase(files, manifest, verify) {
    for (auto& file : files) shards_.emplace_back(std::move(file)).mapping().random();
  }

  void fetch(std::span<const std::int64_t> indices, std::span<const std::byte>* stored, std::int32_t* labels) override {
    const long faults = major_faults();  // also of those who used what they were given last time
    asking_ = faults != faults_ ? kPatience : std::max(0, asking_ - 1);
    faults_ = faults;
    places_.clear();
    for (const std::int64_t index : indices) places_.push_back(directory().find(index));
    if (asking_ > 0)
      for (const auto& [shard, row] : places_) shards_[shard].will_need(row);
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const std::int64_t row = places_[i].row;
      const MappedShard& source = shards_[places_[i].shard];
      stored[i] = source.sample(row, scratch_);
      check(indices[i], source.file(), row, stored[i], [&] { return source.name(row); });
      labels[i] = source.file().labels()[static_cast<std::size_t>(row)];
    }
  }

  std::string name(std::int64_t index) const override {
    const auto [shard, row] = directory().find(index);
    return shards_[shard].name(row);
  }
  std::string place(std::int64_t index) const override {
    const auto [shard, row] = directory().find(index);
    return shards_[shard].file().place(row, shards_[shard].name(row));
  }

 private:
  // How often this thread has waited for storage.
  static long major_faults() {
    rusage usage{};
    return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_majflt : 0;
  }

  // The kernel is asked (1 us a sample) until this many batches in a row have come out of memory alone.
  static constexpr int kPatience = 32;
  int asking_ = kPatience;
  long faults_ = -1;
  std::vector<MappedShard> shards_;
  std::vector<Location> places_;
  std::vector<std::uint8_t> scratch_;  // unused: every shard here is mappable
};

class IndependentReader final : public ReaderBase {
 public:
  IndependentReader(std::vector<ShardFile> files, const Manifest& manifest, Verify verify)
      : ReaderBase(files, manifest, verify), files_(std::move(files)) {}

  void fetch(std::span<const std::int64_t> indices, std::span<const std::byte>* stored, std::int32_t* labels) override {
    order_.resize(indices.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return indices[a] < indices[b]; });
    scratch_.resize(bytes_of(indices));
    std::uint8_t* target = scratch_.data();
    for (std::size_t begin = 0; begin < order_.size();) {
      const Location first = directory().find(indices[order_[begin]]);
      const std::int64_t left = files_[first.shard].header().samples - first.row;
      std::size_t end = begin + 1;
      while (end < order_.size() && static_cast<std::int64_t>(end - begin) < left &&
             indices[order_[end]] == indices[order_[end - 1]] + 1)
        ++end;
      target = read_run(first, std::span(order_).subspan(begin, end - begin), indices, target, stored, labels);
      begin = end;
    }
  }

  std::string name(std::int64_t index) const override {
    const auto [shard, row] = directory().find(index);
    return files_[shard].read_name(row);
  }
  std::string place(std::int64_t index) const override {
    const auto [shard, row] = directory().find(index);
    return files_[shard].place(row, files_[shard].read_name(row));
  }

 private:
  std::size_t bytes_of(std::span<const std::int64_t> indices) const {
    std::size_t bytes = 0;
    for (const std::int64_t index : indices) {
      const auto [shard, row] = directory().find(index);
      bytes += files_[shard].sample_bytes(row);
    }
    return bytes;
  }

  // Neighbours in the file, sample `order[0]` of the batch first, are read to `target`. Returns where they end.
  std::uint8_t* read_run(Location first, std::span<const std::size_t> order, std::span<const std::int64_t> indices,
                         std::uint8_t* target, std::span<const std::byte>* stored, std::int32_t* labels) {
    const ShardFile& file = files_[first.shard];
    file.read_rows(first.row, static_cast<std::int64_t>(order.size()), target);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::int64_t row = first.row + static_cast<std::int64_t>(i);
      stored[order[i]] = std::as_bytes(std::span(target, file.sample_bytes(row)));
      check(indices[order[i]], file, row, stored[order[i]], [&] { return file.read_name(row); });
      labels[order[i]] = file.labels()[static_cast<std::size_t>(row)];
      target += stored[order[i]].size();
    }
    return target;
  }

  std::vector<ShardFile> files_;
  std::vector<std::uint8_t> scratch_;
  std::vector<std::size_t> order_;
};

}  // namespace

std::unique_ptr<SplitReader> open_split(const std::filesystem::path& directory, const Manifest& manifest,
                                        const std::string& split, const ReaderOptions& options) {
  std::vector<ShardFile> files;
  for (const auto& info : manifest.split(split).shards) {
    files.push_back(open_shard(directory, manifest, split, info));
    require(
        files.back().header().plan == files.front().header().plan,
        "shard {} was made in another run than {} (the plans differ: \"{}\" and \"{}\"). Run `brigade shard` again?",
        files.back().path().string(), files.front().file_name(), files.back().header().plan,
        files.front().header().plan);
  }
  const bool mappable = std::all_of(files.begin(), files.end(), [](const auto& file) { return file.mappable(); });
  if (options.mode == ReaderMode::mmap && mappable)
    return std::make_unique<MmapReader>(std::move(files), manifest, options.verify);
  return std::make_unique<IndependentReader>(std::move(files), manifest, options.verify);
}

}  // namespace brigade::dataset
