// Parts of a source: some classes, some samples of each class, or a split of its own. What is chosen depends on the
// names of the samples and the seed alone: the samples of a class are put in the order of a keyed hash of their names,
// and the first ones are taken, so that files may move or be listed otherwise.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "brigade/core/random.hpp"
#include "sources.hpp"

namespace brigade::dataset {
namespace {

class Selection final : public Source {
 public:
  Selection(std::shared_ptr<const Source> source, std::vector<std::int64_t> indices)
      : source_(std::move(source)), indices_(std::move(indices)), classes_(source_->classes()) {
    labels_.resize(classes_.size());
    std::iota(labels_.begin(), labels_.end(), 0);
  }
  Selection(std::shared_ptr<const Source> source, std::vector<std::int64_t> indices, std::vector<std::string> classes,
            std::vector<std::int32_t> labels)
      : source_(std::move(source)),
        indices_(std::move(indices)),
        classes_(std::move(classes)),
        labels_(std::move(labels)) {}

  std::int64_t samples() const override { return static_cast<std::int64_t>(indices_.size()); }
  std::vector<std::string> classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override {
    return labels_[static_cast<std::size_t>(source_->label(original(index)))];
  }
  std::string name(std::int64_t index) const override { return source_->name(original(index)); }
  std::optional<ImageShape> pixels() const override { return source_->pixels(); }
  std::int64_t channels() const override { return source_->channels(); }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    source_->fetch(original(index), bytes);
  }

 private:
  std::int64_t original(std::int64_t index) const { return indices_[static_cast<std::size_t>(index)]; }

  std::shared_ptr<const Source> source_;
  std::vector<std::int64_t> indices_;
  std::vector<std::string> classes_;
  std::vector<std::int32_t> labels_;  // of each class of the source
};

// FNV-1a of the name is the place in a stream of random numbers that the seed chooses.
std::uint64_t keyed_hash(const std::string& name, std::uint64_t seed) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  const auto block = random_block({.seed = seed,
                                   .purpose = Purpose::split,
                                   .stream = static_cast<std::uint32_t>(hash >> 32),
                                   .position = static_cast<std::uint32_t>(hash)},
                                  0);
  return std::uint64_t{block[0]} << 32 | block[1];
}

// The samples of each class in the order of their keyed hashes.
std::vector<std::vector<std::int64_t>> shuffled_classes(const Source& source, std::uint64_t seed) {
  std::vector<std::vector<std::pair<std::uint64_t, std::int64_t>>> hashes(source.classes().size());
  for (std::int64_t i = 0; i < source.samples(); ++i)
    hashes[static_cast<std::size_t>(source.label(i))].emplace_back(keyed_hash(source.name(i), seed), i);
  std::vector<std::vector<std::int64_t>> classes(hashes.size());
  for (std::size_t label = 0; label < hashes.size(); ++label) {
    std::sort(hashes[label].begin(), hashes[label].end());
    for (const auto& [hash, index] : hashes[label]) classes[label].push_back(index);
  }
  return classes;
}

std::shared_ptr<const Source> selected(const std::shared_ptr<const Source>& source, std::vector<std::int64_t> indices) {
  std::sort(indices.begin(), indices.end());
  return std::make_shared<Selection>(source, std::move(indices));
}

}  // namespace

Sources select_classes(const Sources& sources, const std::vector<std::string>& classes) {
  Sources chosen;
  for (const auto& [split, source] : sources) {
    const auto known = source->classes();
    std::vector<std::int32_t> labels(known.size(), -1);
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const auto found = std::find(known.begin(), known.end(), classes[i]);
      require<OptionError>(found != known.end(), "there is no class '{}' (there are {}: {}, ...)", classes[i],
                           known.size(), known.empty() ? "" : known.front());
      auto& label = labels[static_cast<std::size_t>(found - known.begin())];
      require<OptionError>(label < 0, "class '{}' is given twice", classes[i]);
      label = static_cast<std::int32_t>(i);
    }
    std::vector<std::int64_t> indices;
    for (std::int64_t i = 0; i < source->samples(); ++i)
      if (labels[static_cast<std::size_t>(source->label(i))] >= 0) indices.push_back(i);
    if (!indices.empty()) chosen[split] = std::make_shared<Selection>(source, std::move(indices), classes, labels);
  }
  require(!chosen.empty(), "no sample is of the classes asked for");
  return chosen;
}

Sources limit_per_class(const Sources& sources, std::int64_t most, std::uint64_t seed) {
  Sources limited;
  for (const auto& [split, source] : sources) {
    std::vector<std::int64_t> indices;
    for (const auto& members : shuffled_classes(*source, seed)) {
      const auto count = std::min(static_cast<std::ptrdiff_t>(members.size()), static_cast<std::ptrdiff_t>(most));
      indices.insert(indices.end(), members.begin(), members.begin() + count);
    }
    limited[split] = selected(source, std::move(indices));
  }
  return limited;
}

Sources split_by_class(const Sources& sources, const std::map<std::string, double>& shares, std::uint64_t seed) {
  require<OptionError>(sources.size() == 1, "the source has {} splits of its own. Leave out --split?", sources.size());
  double total = 0;
  for (const auto& [split, share] : shares) {
    require<OptionError>(share > 0, "split '{}' would get a share of {}", split, share);
    total += share;
  }
  require<OptionError>(total < 1 + 1e-6, "the shares of the splits add up to {} (1 at most)", total);
  const auto& source = sources.begin()->second;
  std::map<std::string, std::vector<std::int64_t>> indices;
  for (const auto& members : shuffled_classes(*source, seed)) {
    double share = 0;
    std::size_t begin = 0;
    for (const auto& [split, part] : shares) {
      share += part;
      const auto end =
          std::min(members.size(), static_cast<std::size_t>(std::llround(share * static_cast<double>(members.size()))));
      indices[split].insert(indices[split].end(), members.begin() + static_cast<std::ptrdiff_t>(begin),
                            members.begin() + static_cast<std::ptrdiff_t>(end));
      begin = end;
    }
  }
  Sources splits;
  for (auto& [split, members] : indices) {
    require(!members.empty(), "split '{}' would be empty (there are {} samples). Give it a larger share?", split,
            source->samples());
    splits[split] = selected(source, std::move(members));
  }
  return splits;
}

}  // namespace brigade::dataset
