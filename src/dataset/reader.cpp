// Random access over the shards of a split. Two ways to the same pixels:
//
// mmap         a sample is copied out of the page cache. While pages come from storage, the kernel is asked for all
//              samples of a batch before the first is waited for, so that storage sees a deep queue.
// independent  H5Dread, in file order, neighbours together; for file systems whose mappings are slow or unreliable,
//              and for compressed chunks, which only HDF5 can read.
//
// Images of an encoded dataset are decoded and brought to the dataset's shape when they are read.
#include "brigade/dataset/reader.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "open_shard.hpp"
#include "resize.hpp"
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

// What both readers share: the directory, which samples were seen, and how stored bytes become pixels.
class ReaderBase : public SplitReader {
 public:
  ReaderBase(const std::vector<ShardFile>& files, const Manifest& manifest, Verify verify)
      : image_(manifest.image),
        bytes_(static_cast<std::size_t>(image_.size())),
        layout_(manifest.layout),
        resize_(manifest.resize),
        verify_(verify) {
    for (const auto& file : files) directory_.add(file.header().samples);
    seen_.resize(static_cast<std::size_t>(directory_.samples()));
  }
  std::int64_t samples() const override { return directory_.samples(); }
  ImageShape image() const override { return image_; }

 protected:
  const Directory& directory() const { return directory_; }
  std::size_t sample_bytes() const { return bytes_; }
  Layout layout() const { return layout_; }
  bool seen(std::int64_t index) const { return seen_[static_cast<std::size_t>(index)]; }

  // To be called before the pixels of sample `index` are given away.
  template <class Name>
  void check(std::int64_t index, const ShardFile& file, std::int64_t row, std::span<const std::byte> stored,
             Name&& name) {
    if (verify_ == Verify::always || (verify_ == Verify::first && !seen(index))) file.verify(row, stored, name);
    seen_[static_cast<std::size_t>(index)] = true;
  }

  template <class Name>
  void unpack(const ShardFile& file, std::int64_t row, std::span<const std::byte> stored, std::uint8_t* pixels,
              Name&& name) const {
    if (layout_ == Layout::raw) {
      std::memcpy(pixels, stored.data(), stored.size());
      return;
    }
    try {
      decode_to_shape(stored, image_, resize_, pixels);
    } catch (const DataError& error) {
      throw DataError(fmt::format("shard {}: sample {} ({}) does not decode ({})", file.path().string(), row, name(),
                                  error.what()));
    }
  }

 private:
  ImageShape image_;
  std::size_t bytes_;
  Layout layout_;
  Resize resize_;
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

  void read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels) override {
    places_.clear();
    for (const std::int64_t index : indices) places_.push_back(directory().find(index));
    if (asking_ > 0)
      for (const auto& [shard, row] : places_) shards_[shard].will_need(row);
    const long faults = major_faults();
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const std::int64_t row = places_[i].row;
      const MappedShard& source = shards_[places_[i].shard];
      const auto stored = source.sample(row, scratch_);
      if (i + 1 < indices.size()) prefetch(places_[i + 1]);
      const auto name = [&] { return source.name(row); };
      check(indices[i], source.file(), row, stored, name);
      unpack(source.file(), row, stored, pixels + i * sample_bytes(), name);
      labels[i] = source.file().labels()[static_cast<std::size_t>(row)];
    }
    asking_ = major_faults() != faults ? kPatience : std::max(0, asking_ - 1);
  }

  std::string name(std::int64_t index) const override {
    const auto [shard, row] = directory().find(index);
    return shards_[shard].name(row);
  }

 private:
  // The processor's own prefetcher stops at the end of a page and cannot know where the next sample is: its first
  // lines are asked for while this one is copied.
  void prefetch(Location next) {
    const auto bytes = shards_[next.shard].sample(next.row, scratch_);
    for (std::size_t line = 0; line < std::min(bytes.size(), kPrefetchBytes); line += 64)
      __builtin_prefetch(bytes.data() + line);
  }

  // How often this thread has waited for storage.
  static long major_faults() {
    rusage usage{};
    return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_majflt : 0;
  }

  static constexpr std::size_t kPrefetchBytes = 2048;
  // The kernel is asked (1 us a sample) until this many batches in a row have come out of memory alone.
  static constexpr int kPatience = 32;
  int asking_ = kPatience;
  std::vector<MappedShard> shards_;
  std::vector<Location> places_;
  std::vector<std::uint8_t> scratch_;  // unused: every shard here is mappable
};

class IndependentReader final : public ReaderBase {
 public:
  IndependentReader(std::vector<ShardFile> files, const Manifest& manifest, Verify verify)
      : ReaderBase(files, manifest, verify), files_(std::move(files)) {}

  void read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels) override {
    order_.resize(indices.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return indices[a] < indices[b]; });
    for (std::size_t begin = 0; begin < order_.size();) {
      const Location first = directory().find(indices[order_[begin]]);
      const std::int64_t left = layout() == Layout::encoded ? 1 : files_[first.shard].header().samples - first.row;
      std::size_t end = begin + 1;
      while (end < order_.size() && static_cast<std::int64_t>(end - begin) < left &&
             indices[order_[end]] == indices[order_[end - 1]] + 1)
        ++end;
      read_run(first, std::span(order_).subspan(begin, end - begin), indices, pixels, labels);
      begin = end;
    }
  }

  std::string name(std::int64_t index) const override {
    const auto [shard, row] = directory().find(index);
    return files_[shard].read_name(row);
  }

 private:
  // Neighbours in the file, sample `order[0]` of the batch first. They go straight to their places if they are
  // pixels and neighbours in the batch, too.
  void read_run(Location first, std::span<const std::size_t> order, std::span<const std::int64_t> indices,
                std::uint8_t* pixels, std::int32_t* labels) {
    const ShardFile& file = files_[first.shard];
    bool in_place = layout() == Layout::raw;
    for (std::size_t i = 1; i < order.size(); ++i) in_place &= order[i] == order[0] + i;
    const auto count = static_cast<std::int64_t>(order.size());
    if (!in_place) scratch_.resize(order.size() * file.sample_bytes(first.row));  // one sample if they differ
    std::uint8_t* target = in_place ? pixels + order[0] * sample_bytes() : scratch_.data();
    file.read_rows(first.row, count, target);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::int64_t row = first.row + static_cast<std::int64_t>(i);
      const auto name = [&] { return file.read_name(row); };
      const std::span stored(target, file.sample_bytes(row));
      check(indices[order[i]], file, row, std::as_bytes(stored), name);
      if (!in_place) unpack(file, row, std::as_bytes(stored), pixels + order[i] * sample_bytes(), name);
      labels[order[i]] = file.labels()[static_cast<std::size_t>(row)];
      target += stored.size();
    }
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
