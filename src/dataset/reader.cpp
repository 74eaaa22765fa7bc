// Random access over the shards of a split. Two ways to the same pixels:
//
// mmap         a sample is copied out of the page cache. While pages come from storage, the kernel is asked for all
//              samples of a batch before the first is waited for, so that storage sees a deep queue.
// independent  H5Dread, in file order, neighbours together; for file systems whose mappings are slow or unreliable.
#include "brigade/dataset/reader.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstring>
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
  ReaderBase(const std::vector<ShardFile>& files, ImageShape image, Verify verify)
      : image_(image), bytes_(static_cast<std::size_t>(image.size())), verify_(verify) {
    for (const auto& file : files) directory_.add(file.header().samples);
    seen_.resize(static_cast<std::size_t>(directory_.samples()));
  }
  std::int64_t samples() const override { return directory_.samples(); }
  ImageShape image() const override { return image_; }

 protected:
  const Directory& directory() const { return directory_; }
  std::size_t sample_bytes() const { return bytes_; }
  bool seen(std::int64_t index) const { return seen_[static_cast<std::size_t>(index)]; }

  // To be called before the pixels of sample `index` are given away.
  template <class Name>
  void check(std::int64_t index, const ShardFile& file, std::int64_t row, std::span<const std::byte> pixels,
             Name&& name) {
    if (verify_ == Verify::always || (verify_ == Verify::first && !seen(index))) file.verify(row, pixels, name);
    seen_[static_cast<std::size_t>(index)] = true;
  }

 private:
  ImageShape image_;
  std::size_t bytes_;
  Verify verify_;
  Directory directory_;
  std::vector<bool> seen_;
};

class MmapReader final : public ReaderBase {
 public:
  MmapReader(std::vector<ShardFile> files, ImageShape image, Verify verify) : ReaderBase(files, image, verify) {
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
      const auto bytes = source.pixels(row);
      if (i + 1 < indices.size()) prefetch(places_[i + 1]);
      check(indices[i], source.file(), row, bytes, [&] { return source.name(row); });
      std::memcpy(pixels + i * sample_bytes(), bytes.data(), bytes.size());
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
  void prefetch(Location next) const {
    const auto bytes = shards_[next.shard].pixels(next.row);
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
};

class IndependentReader final : public ReaderBase {
 public:
  IndependentReader(std::vector<ShardFile> files, ImageShape image, Verify verify)
      : ReaderBase(files, image, verify), files_(std::move(files)) {
    const auto lock = lock_hdf5();
    for (const auto& file : files_)
      spaces_.emplace_back(check_hdf5(H5Dget_space(file.images()), "cannot read {}", file.file_name()));
  }

  void read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels) override {
    order_.resize(indices.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return indices[a] < indices[b]; });
    for (std::size_t begin = 0; begin < order_.size();) {
      const Location first = directory().find(indices[order_[begin]]);
      const std::int64_t left = files_[first.shard].header().samples - first.row;
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
    return stored_name(files_[shard], row);
  }

 private:
  // Neighbours in the file, sample `order[0]` of the batch first. They go straight to their places if they are
  // neighbours in the batch, too.
  void read_run(Location first, std::span<const std::size_t> order, std::span<const std::int64_t> indices,
                std::uint8_t* pixels, std::int32_t* labels) {
    bool in_place = true;
    for (std::size_t i = 1; i < order.size(); ++i) in_place &= order[i] == order[0] + i;
    if (!in_place) scratch_.resize(order.size() * sample_bytes());
    std::uint8_t* target = in_place ? pixels + order[0] * sample_bytes() : scratch_.data();
    const ShardFile& file = files_[first.shard];
    read_rows(first, order.size(), target);
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::int64_t row = first.row + static_cast<std::int64_t>(i);
      const std::span sample(target + i * sample_bytes(), sample_bytes());
      check(indices[order[i]], file, row, std::as_bytes(sample), [&] { return stored_name(file, row); });
      if (!in_place) std::memcpy(pixels + order[i] * sample_bytes(), sample.data(), sample.size());
      labels[order[i]] = file.labels()[static_cast<std::size_t>(row)];
    }
  }

  void read_rows(Location first, std::size_t count, std::uint8_t* target) {
    const auto lock = lock_hdf5();
    const ShardFile& file = files_[first.shard];
    const auto extent = [](std::int64_t n) { return static_cast<hsize_t>(n); };
    const std::array<hsize_t, 4> start{extent(first.row), 0, 0, 0};
    const std::array extents{hsize_t{count}, extent(image().height), extent(image().width), extent(image().channels)};
    if (memory_count_ != count) {
      memory_ = Hdf5Space(check_hdf5(H5Screate_simple(4, extents.data(), nullptr), "cannot shape a batch"));
      memory_count_ = count;
    }
    check_hdf5(
        H5Sselect_hyperslab(spaces_[first.shard], H5S_SELECT_SET, start.data(), nullptr, extents.data(), nullptr),
        "cannot select samples of {}", file.file_name());
    check_hdf5(H5Dread(file.images(), H5T_NATIVE_UINT8, memory_, spaces_[first.shard], H5P_DEFAULT, target),
               "shard {}: samples {} to {} cannot be read. Is the file damaged?", file.path().string(), first.row,
               first.row + static_cast<std::int64_t>(count) - 1);
  }

  static std::string stored_name(const ShardFile& file, std::int64_t row) {
    const auto lock = lock_hdf5();
    const hsize_t start = static_cast<hsize_t>(row), one = 1;
    const Hdf5Space place(check_hdf5(H5Dget_space(file.names()), "cannot read names of {}", file.file_name()));
    const Hdf5Space memory(check_hdf5(H5Screate_simple(1, &one, nullptr), "cannot read names of {}", file.file_name()));
    const Hdf5Type type(check_hdf5(H5Dget_type(file.names()), "cannot read names of {}", file.file_name()));
    std::string text(file.names_place().item_bytes, '\0');
    check_hdf5(H5Sselect_hyperslab(place, H5S_SELECT_SET, &start, nullptr, &one, nullptr), "cannot select a name of {}",
               file.file_name());
    check_hdf5(H5Dread(file.names(), type, memory, place, H5P_DEFAULT, text.data()), "cannot read names of {}",
               file.file_name());
    return text.substr(0, text.find('\0'));
  }

  std::vector<ShardFile> files_;
  std::vector<Hdf5Space> spaces_;  // of /images, one a shard; holds the selection
  Hdf5Space memory_;               // of the last run, which usually is as long as the next
  std::size_t memory_count_ = 0;
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
  if (options.mode == ReaderMode::mmap)
    return std::make_unique<MmapReader>(std::move(files), manifest.image, options.verify);
  return std::make_unique<IndependentReader>(std::move(files), manifest.image, options.verify);
}

}  // namespace brigade::dataset
