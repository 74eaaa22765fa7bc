// Arrays of images as numpy stores them: Keras' datasets (x_train, y_train, x_test, y_test) and MedMNIST's
// (train_images, train_labels, val_..., test_...). Images are uint8 [n, h, w] or [n, h, w, 1 or 3], labels any whole
// numbers [n] or [n, 1].
#include <algorithm>

#include "npz_file.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostClasses = 1 << 20;
constexpr std::uint64_t kLargestSide = 1 << 16;

class NpzSource final : public Source {
 public:
  NpzSource(std::string name, std::shared_ptr<const NpzArray> images, std::vector<std::int32_t> labels)
      : name_(std::move(name)), images_(std::move(images)), labels_(std::move(labels)) {
    const auto& shape = images_->header().shape;
    const bool grey = shape.size() == 3;
    require(images_->header().type == "|u1" && (grey || (shape.size() == 4 && (shape[3] == 1 || shape[3] == 3))),
            "{} holds no images (expected uint8 [n, h, w] or [n, h, w, 1 or 3])", name_);
    require(shape[1] >= 1 && shape[1] <= kLargestSide && shape[2] >= 1 && shape[2] <= kLargestSide,
            "{} claims images of {}x{} pixels (damaged?)", name_, shape[1], shape[2]);
    require(shape[0] == labels_.size(), "{} holds {} images, but there are {} labels", name_, shape[0], labels_.size());
    const auto extent = [&](std::size_t axis) { return static_cast<std::int64_t>(shape[axis]); };
    shape_ = {extent(1), extent(2), grey ? 1 : extent(3)};
  }
  std::int64_t samples() const override { return static_cast<std::int64_t>(labels_.size()); }
  std::vector<std::string> classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override { return labels_[static_cast<std::size_t>(index)]; }
  std::string name(std::int64_t index) const override { return fmt::format("{}#{}", name_, index); }
  std::optional<ImageShape> pixels() const override { return shape_; }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    images_->read(static_cast<std::uint64_t>(index), bytes);
  }

  std::int64_t largest_label() const {
    return labels_.empty() ? -1 : *std::max_element(labels_.begin(), labels_.end());
  }
  void set_classes(std::vector<std::string> classes) { classes_ = std::move(classes); }

 private:
  std::string name_;
  std::shared_ptr<const NpzArray> images_;
  std::vector<std::int32_t> labels_;
  ImageShape shape_;
  std::vector<std::string> classes_;
};

std::vector<std::int32_t> read_labels(const NpzArray& array, const std::string& name) {
  const auto& header = array.header();
  const bool column = header.shape.size() == 2 && header.shape[1] == 1;
  const char order = header.type[0], kind = header.type[1];
  require((header.shape.size() == 1 || column) && order != '>' && (kind == 'u' || kind == 'i'),
          "{} holds no labels (expected whole numbers [n] or [n, 1], little-endian)", name);
  std::vector<std::int32_t> labels;
  std::vector<std::byte> bytes;
  for (std::uint64_t i = 0; i < header.shape[0]; ++i) {
    array.read(i, bytes);
    std::uint64_t label = 0;
    for (std::size_t byte = bytes.size(); byte-- > 0;) label = label << 8 | std::to_integer<std::uint64_t>(bytes[byte]);
    require(label < kMostClasses, "{}#{} is label {} (expected 0 to {})", name, i, label, kMostClasses - 1);
    labels.push_back(static_cast<std::int32_t>(label));
  }
  return labels;
}

struct Names {
  const char *split, *images, *labels;
};
constexpr std::array kNames{Names{"train", "x_train", "y_train"},     Names{"val", "x_val", "y_val"},
                            Names{"test", "x_test", "y_test"},        Names{"train", "train_images", "train_labels"},
                            Names{"val", "val_images", "val_labels"}, Names{"test", "test_images", "test_labels"}};

}  // namespace

bool is_npz(const fs::path& path) { return path.extension() == ".npz" && fs::is_regular_file(path); }

Sources open_npz(const fs::path& path) {
  std::map<std::string, std::shared_ptr<NpzSource>> found;
  std::int64_t classes = 1;
  for (const auto& [split, image_name, label_name] : kNames) {
    auto images = NpzArray::open(path, image_name);
    if (!images) continue;
    const auto labels = NpzArray::open(path, label_name);
    const auto name = fmt::format("{}:{}", path.filename().string(), image_name);
    require(labels != nullptr, "{} has no labels ({} is missing)", name, label_name);
    found[split] = std::make_shared<NpzSource>(name, std::move(images),
                                               read_labels(*labels, fmt::format("{}:{}", path.string(), label_name)));
    classes = std::max(classes, found[split]->largest_label() + 1);
  }
  require(!found.empty(),
          "{} holds no images (arrays looked for: x_train, x_val, x_test, train_images, val_images, "
          "test_images)",
          path.string());
  auto names = named_classes(path.parent_path());
  require(names.empty() || static_cast<std::int64_t>(names.size()) >= classes,
          "{} has label {} (there are {} class names beside it)", path.string(), classes - 1, names.size());
  if (names.empty()) names = numbered_classes(classes);
  Sources sources;
  for (auto& [split, source] : found) {
    source->set_classes(names);
    sources[split] = std::move(source);
  }
  return sources;
}

}  // namespace brigade::dataset
