// The binary versions of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html): records of one label
// byte (CIFAR-100: coarse, then fine label; the fine one is used) and 3072 bytes of red, green and blue planes of
// 32x32, which become [32, 32, 3].
#include <array>

#include "mapped_file.hpp"
#include "source_support.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPlane = 32 * 32;

class CifarSource final : public Source {
 public:
  CifarSource(const std::vector<fs::path>& files, std::size_t label_bytes, std::vector<std::string> classes)
      : label_bytes_(label_bytes), classes_(std::move(classes)) {
    for (const auto& path : files) {
      const auto& file = files_.emplace_back(path.filename().string(), MappedFile(path));
      const std::size_t bytes = file.mapping.bytes().size();
      require(bytes > 0 && bytes % record_bytes() == 0,
              "{} has {} bytes (not a multiple of the {} of a record). Download it again?", path.string(), bytes,
              record_bytes());
      for (std::size_t row = 0; row < bytes / record_bytes(); ++row) {
        const auto label = std::to_integer<std::size_t>(file.mapping.bytes()[row * record_bytes() + label_bytes_ - 1]);
        require(label < classes_.size(), "{}#{} has label {} (there are {} classes)", file.name, row, label,
                classes_.size());
        places_.push_back({.file = static_cast<std::uint32_t>(files_.size() - 1),
                           .row = static_cast<std::uint32_t>(row),
                           .label = static_cast<std::int32_t>(label)});
      }
    }
  }
  std::int64_t samples() const override { return static_cast<std::int64_t>(places_.size()); }
  std::optional<ImageShape> pixels() const override { return ImageShape{32, 32, 3}; }
  std::vector<std::string> classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override { return place(index).label; }
  std::string name(std::int64_t index) const override {
    return fmt::format("{}#{}", files_[place(index).file].name, place(index).row);
  }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    const auto record =
        files_[place(index).file].mapping.bytes().subspan(place(index).row * record_bytes(), record_bytes());
    const auto planes = record.subspan(label_bytes_);
    bytes.resize(3 * kPlane);
    for (std::size_t pixel = 0; pixel < kPlane; ++pixel)
      for (std::size_t c = 0; c < 3; ++c) bytes[3 * pixel + c] = planes[c * kPlane + pixel];
  }

 private:
  struct File {
    File(std::string n, MappedFile m) : name(std::move(n)), mapping(std::move(m)) {}
    std::string name;
    MappedFile mapping;
  };
  struct Place {
    std::uint32_t file, row;
    std::int32_t label;
  };
  std::size_t record_bytes() const { return label_bytes_ + 3 * kPlane; }
  const Place& place(std::int64_t index) const { return places_[static_cast<std::size_t>(index)]; }

  std::size_t label_bytes_;
  std::vector<std::string> classes_;
  std::vector<File> files_;
  std::vector<Place> places_;
};

std::vector<std::string> class_names(const fs::path& file, std::int64_t count) {
  if (!fs::exists(file)) return numbered_classes(count);
  auto names = read_lines(file);
  require(static_cast<std::int64_t>(names.size()) == count, "{} names {} classes (expected {})", file.string(),
          names.size(), count);
  return names;
}

}  // namespace

bool is_cifar(const fs::path& directory) {
  return fs::exists(directory / "data_batch_1.bin") || fs::exists(directory / "train.bin");
}

Sources open_cifar(const fs::path& directory) {
  require(is_cifar(directory), "{} holds no CIFAR binaries (data_batch_1.bin or train.bin)", directory.string());
  const bool hundred = fs::exists(directory / "train.bin");
  std::map<std::string, std::vector<std::string>> names;
  if (hundred)
    names = {{"train", {"train.bin"}}, {"test", {"test.bin"}}};
  else
    names = {
        {"train", {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}},
        {"test", {"test_batch.bin"}}};
  const auto classes =
      hundred ? class_names(directory / "fine_label_names.txt", 100) : class_names(directory / "batches.meta.txt", 10);
  Sources sources;
  for (const auto& [split, file_names] : names) {
    std::vector<fs::path> files;
    for (const auto& name : file_names)
      if (fs::exists(directory / name)) files.push_back(directory / name);
    if (!files.empty()) sources[split] = std::make_shared<CifarSource>(files, hundred ? 2 : 1, classes);
  }
  return sources;
}

}  // namespace brigade::dataset
