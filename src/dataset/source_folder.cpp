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
#include <cstring>
#include <span>
#include <sstream>

#include "brigade/core/atomic_file.hpp"
#include "decode_image.hpp"
#include "resize.hpp"
#include "sources.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = std::size_t{1} << 30;

struct Sample {
  std::string name;  // path below the root
  std::int32_t label;
};

class FolderSource final : public Source {
 public:
  FolderSource(fs::path root, std::vector<Sample> samples, std::vector<std::string> classes, std::int64_t image_size)
      : root_(std::move(root)), samples_(std::move(samples)), classes_(std::move(classes)), resize_(image_size > 0) {
    image_ = {image_size, image_size, 3};
  }
  std::int64_t samples() const override { return static_cast<std::int64_t>(samples_.size()); }
  ImageShape image() const override { return image_; }
  std::vector<std::string> classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override { return samples_[static_cast<std::size_t>(index)].label; }
  std::string name(std::int64_t index) const override { return samples_[static_cast<std::size_t>(index)].name; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    // Half the reduction is left to the antialiasing filter.
    RgbImage image = decode(index, resize_ ? 2 * image_.height : 0);
    if (resize_) image = resize(image, image_.height, image_.width);
    require(image.height == image_.height && image.width == image_.width,
            "it has {}x{} pixels (expected {}x{}, as the first image). Use --image-size?", image.height, image.width,
            image_.height, image_.width);
    std::memcpy(pixels, image.pixels.data(), image.pixels.size());
  }

  // The size of the first image that decodes.
  void take_shape_of_first() {
    for (std::int64_t index = 0; index < samples(); ++index) try {
        const RgbImage image = decode(index, 0);
        image_ = {image.height, image.width, 3};
        return;
      } catch (const DataError&) {  // ingest will list it
      }
    throw DataError(fmt::format("none of the {} images below {} decodes", samples(), root_.string()));
  }
  void take_shape_of(const FolderSource& other) { image_ = other.image_; }

 private:
  RgbImage decode(std::int64_t index, std::int64_t enough) const {
    const std::string file = read_file(root_ / name(index), kLargestFile);
    return decode_image(std::as_bytes(std::span(file)), enough);
  }

  fs::path root_;
  std::vector<Sample> samples_;
  std::vector<std::string> classes_;
  ImageShape image_;
  bool resize_;
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

Sources open_splits(const fs::path& root, std::int64_t image_size) {
  const auto splits = find_splits(root);
  const auto classes = subdirectories(splits.at("train"));
  require(!classes.empty(), "{} holds no directories of images (expected one per class)", splits.at("train").string());
  std::map<std::string, std::unique_ptr<FolderSource>> found;
  for (const auto& [split, directory] : splits) {
    const auto annotations = directory / "val_annotations.txt";
    auto samples = fs::exists(annotations) ? samples_by_annotations(root, annotations, classes)
                                           : samples_by_directory(root, directory, classes);
    if (!samples.empty()) found[split] = std::make_unique<FolderSource>(root, std::move(samples), classes, image_size);
  }
  require(found.contains("train"), "{} holds no JPEG or PNG images", splits.at("train").string());
  if (image_size == 0) found["train"]->take_shape_of_first();
  Sources sources;
  for (auto& [split, source] : found)
    if (split != "train") source->take_shape_of(*found["train"]);
  for (auto& [split, source] : found) sources[split] = std::move(source);
  return sources;
}

}  // namespace

bool is_folder(const fs::path& directory) { return !subdirectories(directory).empty(); }

Sources open_folder(const fs::path& directory, std::int64_t image_size) {
  try {
    return open_splits(directory, image_size);
  } catch (const fs::filesystem_error& error) {
    throw DataError(fmt::format("the images cannot be listed ({})", error.what()));
  }
}

}  // namespace brigade::dataset
