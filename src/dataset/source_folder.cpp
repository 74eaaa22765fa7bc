// A directory per class, with JPEG and PNG files anywhere below it:
//
//   root/cat/1.png                one split, "train"
//   root/train/cat/1.png          splits "train", "val" and "test", as far as they are there
//   root/val/val_annotations.txt  Tiny ImageNet's validation set: lines "file class ..." for root/val/images/file
//
// The classes are the directories of "train" in the order of their names. A split none of whose directories is a
// class has no labels (Tiny ImageNet's test set) and is left out. Files count in the order of their paths.
#include <algorithm>
#include <cctype>
#include <sstream>

#include "source_support.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

struct Sample {
  std::string name;  // path below the root
  std::int32_t label;
};

class FolderSource final : public Source {
 public:
  FolderSource(fs::path root, std::vector<Sample> samples, std::vector<std::string> classes)
      : root_(std::move(root)), samples_(std::move(samples)), classes_(std::move(classes)) {}
  std::int64_t samples() const override { return static_cast<std::int64_t>(samples_.size()); }
  std::vector<std::string> classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override { return samples_[static_cast<std::size_t>(index)].label; }
  std::string name(std::int64_t index) const override { return samples_[static_cast<std::size_t>(index)].name; }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    read_image_file(root_ / name(index), bytes);
  }

 private:
  fs::path root_;
  std::vector<Sample> samples_;
  std::vector<std::string> classes_;
};

bool is_image(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

std::vector<std::string> subdirectories(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const auto name = entry.path().filename().string();
    if (entry.is_directory() && name.front() != '.') names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::int32_t label_of(const std::string& name, const std::vector<std::string>& classes) {
  const auto found = std::lower_bound(classes.begin(), classes.end(), name);
  return found != classes.end() && *found == name ? static_cast<std::int32_t>(found - classes.begin()) : -1;
}

void sort_by_name(std::vector<Sample>& samples) {
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) { return a.name < b.name; });
}

std::vector<Sample> samples_by_directory(const fs::path& root, const fs::path& split,
                                         const std::vector<std::string>& classes) {
  const auto directories = subdirectories(split);
  if (std::none_of(directories.begin(), directories.end(),
                   [&](const std::string& name) { return label_of(name, classes) >= 0; }))
    return {};
  std::vector<Sample> samples;
  for (const auto& name : directories) {
    const std::int32_t label = label_of(name, classes);
    require(label >= 0, "{} is no class of the training data ({} classes are known)", (split / name).string(),
            classes.size());
    for (const auto& entry :
         fs::recursive_directory_iterator(split / name, fs::directory_options::follow_directory_symlink))
      if (entry.is_regular_file() && is_image(entry.path()))
        samples.push_back({.name = entry.path().lexically_relative(root).generic_string(), .label = label});
  }
  sort_by_name(samples);
  return samples;
}

std::vector<Sample> samples_by_annotations(const fs::path& root, const fs::path& annotations,
                                           const std::vector<std::string>& classes) {
  std::vector<Sample> samples;
  for (const auto& line : read_lines(annotations)) {
    std::istringstream words(line);
    std::string file, name;
    words >> file >> name;
    const std::int32_t label = label_of(name, classes);
    require(label >= 0 && file.find('/') == std::string::npos,
            "{}: \"{}\" names no class of the training data, or no file beside it", annotations.string(), line);
    const auto path = annotations.parent_path() / "images" / file;
    samples.push_back({.name = path.lexically_relative(root).generic_string(), .label = label});
  }
  sort_by_name(samples);
  return samples;
}

// The directory of each split.
std::map<std::string, fs::path> find_splits(const fs::path& root) {
  if (!fs::is_directory(root / "train")) return {{"train", root}};
  std::map<std::string, fs::path> splits;
  for (const char* name : {"train", "val", "test"})
    if (fs::is_directory(root / name)) splits[name] = root / name;
  return splits;
}

Sources open_splits(const fs::path& root) {
  const auto splits = find_splits(root);
  const auto classes = subdirectories(splits.at("train"));
  require(!classes.empty(), "{} holds no directories of images (expected one per class)", splits.at("train").string());
  Sources sources;
  for (const auto& [split, directory] : splits) {
    const auto annotations = directory / "val_annotations.txt";
    auto samples = fs::exists(annotations) ? samples_by_annotations(root, annotations, classes)
                                           : samples_by_directory(root, directory, classes);
    if (!samples.empty()) sources[split] = std::make_shared<FolderSource>(root, std::move(samples), classes);
  }
  require(sources.contains("train"), "{} holds no JPEG or PNG images", splits.at("train").string());
  return sources;
}

}  // namespace

bool is_folder(const fs::path& path) { return fs::is_directory(path) && !subdirectories(path).empty(); }

Sources open_folder(const fs::path& path) {
  try {
    return open_splits(path);
  } catch (const fs::filesystem_error& error) {
    throw DataError(fmt::format("the images cannot be listed ({})", error.what()));
  }
}

}  // namespace brigade::dataset
