// Another Brigade dataset: to cut it into other shards, to change its layout or image size, or to take some of its
// classes. Checksums are compared as samples are read; the names of where they came from are kept.
#include <algorithm>

#include "open_shard.hpp"
#include "shard.hpp"
#include "source_support.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

class BrigadeSource final : public Source {
 public:
  BrigadeSource(const fs::path& directory, const Manifest& manifest, const std::string& split)
      : classes_(manifest.classes), channels_(manifest.image.channels) {
    if (manifest.layout == Layout::raw) shape_ = manifest.image;
    for (const auto& info : manifest.split(split).shards) {
      shards_.emplace_back(open_shard(directory, manifest, split, info));
      ends_.push_back(samples() + info.samples);
    }
  }
  std::int64_t samples() const override { return ends_.empty() ? 0 : ends_.back(); }
  std::vector<std::string> classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override {
    const auto [shard, row] = find(index);
    return shard->file().labels()[static_cast<std::size_t>(row)];
  }
  std::string name(std::int64_t index) const override {
    const auto [shard, row] = find(index);
    return shard->name(row);
  }
  std::optional<ImageShape> pixels() const override { return shape_; }
  std::int64_t channels() const override { return channels_; }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    const auto found = find(index);
    thread_local std::vector<std::uint8_t> scratch;
    const auto stored = found.shard->sample(found.row, scratch);
    found.shard->file().verify(found.row, stored, [&] { return found.shard->name(found.row); });
    bytes.assign(stored.begin(), stored.end());
  }

 private:
  struct Location {
    const MappedShard* shard;
    std::int64_t row;
  };
  Location find(std::int64_t index) const {
    const auto shard = static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), index) - ends_.begin());
    return {.shard = &shards_[shard], .row = index - (shard == 0 ? 0 : ends_[shard - 1])};
  }

  std::vector<std::string> classes_;
  std::int64_t channels_;
  std::optional<ImageShape> shape_;
  std::vector<MappedShard> shards_;
  std::vector<std::int64_t> ends_;
};

}  // namespace

bool is_brigade(const fs::path& path) { return fs::is_regular_file(path / "manifest.json"); }

Sources open_brigade(const fs::path& path) {
  const Manifest manifest = read_manifest(path);
  Sources sources;
  for (const auto& [split, info] : manifest.splits)
    if (info.samples() > 0) sources[split] = std::make_shared<BrigadeSource>(path, manifest, split);
  return sources;
}

}  // namespace brigade::dataset
