// A text file with an image and its label in each line, separated by a comma, a tab or blanks:
//
//   images/cat 1.jpg, cat        the label is what follows the last separator: a name, or a number from 0
//   /data/dog.png 1              paths are below the list's directory unless they are absolute
//
// Lines that begin with # say nothing. A directory may hold train.txt, val.txt and test.txt; classes.txt beside the
// list names the classes in their order.
#include <algorithm>

#include "source_support.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

struct Sample {
  std::string name;
  std::int32_t label;
};

class ListSource final : public Source {
 public:
  ListSource(fs::path root, std::vector<Sample> samples, std::shared_ptr<const LabelTable> labels)
      : root_(std::move(root)), samples_(std::move(samples)), labels_(std::move(labels)) {}
  std::int64_t samples() const override { return static_cast<std::int64_t>(samples_.size()); }
  std::vector<std::string> classes() const override { return labels_->classes(); }
  std::int32_t label(std::int64_t index) const override { return labels_->class_of(sample(index).label); }
  std::string name(std::int64_t index) const override { return sample(index).name; }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    read_image_file(root_ / name(index), bytes);
  }

 private:
  const Sample& sample(std::int64_t index) const { return samples_[static_cast<std::size_t>(index)]; }

  fs::path root_;
  std::vector<Sample> samples_;
  std::shared_ptr<const LabelTable> labels_;
};

std::vector<Sample> read_list(const fs::path& path, LabelTable& labels) {
  constexpr const char* kSeparators = ", \t";
  std::vector<Sample> samples;
  for (const auto& line : read_lines(path)) {
    if (line.front() == '#') continue;
    const auto label = line.find_last_of(kSeparators);
    const auto end = label == std::string::npos ? label : line.find_last_not_of(kSeparators, label);
    require(end != std::string::npos, "{}: line \"{}\" has no path and label (expected for example \"cat/1.jpg cat\")",
            path.string(), line);
    samples.push_back({.name = line.substr(0, end + 1), .label = labels.add(line.substr(label + 1))});
  }
  require(!samples.empty(), "{} lists no images", path.string());
  return samples;
}

}  // namespace

bool is_list(const fs::path& path) {
  return fs::is_directory(path) ? fs::is_regular_file(path / "train.txt")
                                : path.extension() == ".txt" || path.extension() == ".csv";
}

Sources open_list(const fs::path& path) {
  std::map<std::string, fs::path> lists{{"train", path}};
  const bool directory = fs::is_directory(path);
  if (directory)
    for (const char* split : {"train", "val", "test"})
      if (fs::is_regular_file(path / fmt::format("{}.txt", split))) lists[split] = path / fmt::format("{}.txt", split);
  require(lists.at("train") != path || !directory, "{} holds no list of images (train.txt)", path.string());
  const fs::path root = directory ? path : path.parent_path();
  const auto labels = std::make_shared<LabelTable>();
  std::map<std::string, std::vector<Sample>> samples;
  for (const auto& [split, list] : lists) samples[split] = read_list(list, *labels);
  labels->settle(named_classes(root), path.string());
  Sources sources;
  for (auto& [split, found] : samples) sources[split] = std::make_shared<ListSource>(root, std::move(found), labels);
  return sources;
}

}  // namespace brigade::dataset
