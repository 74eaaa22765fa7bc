// tar archives in the style of WebDataset (https://github.com/webdataset/webdataset): files that follow one another
// and share a name up to its first dot are one sample:
//
//   0001.jpg 0001.cls      .jpg, .jpeg or .png is the image; .cls holds the label, a number or a name,
//   0002.png 0002.json     or .json does, as {"label": 3} ("cls" and "class" mean the same)
//
// A directory of archives makes one split, or several if their names begin with train, val and test. classes.txt
// beside them names the classes. Headers are read once, when the archive is opened; images are read where they lie.
#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "tar_file.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostLabelBytes = 1 << 20;

struct Place {
  std::uint32_t archive;
  std::int32_t label;
  std::uint64_t offset, bytes;
};

class TarSource final : public Source {
 public:
  TarSource(std::vector<InputFile> archives, std::vector<Place> places, std::vector<std::string> names,
            std::shared_ptr<const LabelTable> labels)
      : archives_(std::move(archives)),
        places_(std::move(places)),
        names_(std::move(names)),
        labels_(std::move(labels)) {}
  std::int64_t samples() const override { return static_cast<std::int64_t>(places_.size()); }
  std::vector<std::string> classes() const override { return labels_->classes(); }
  std::int32_t label(std::int64_t index) const override { return labels_->class_of(place(index).label); }
  std::string name(std::int64_t index) const override {
    return fmt::format("{}#{}", archives_[place(index).archive].path().filename().string(),
                       names_[static_cast<std::size_t>(index)]);
  }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    require(place(index).bytes <= kLargestFile, "the file has {} bytes, more than {}", place(index).bytes,
            kLargestFile);
    bytes.resize(place(index).bytes);
    archives_[place(index).archive].read(place(index).offset, bytes);
  }

 private:
  const Place& place(std::int64_t index) const { return places_[static_cast<std::size_t>(index)]; }

  std::vector<InputFile> archives_;
  std::vector<Place> places_;
  std::vector<std::string> names_;  // of the images
  std::shared_ptr<const LabelTable> labels_;
};

// "a/b.c/0001.seg.png" is sample "a/b.c/0001", part "seg.png".
std::pair<std::string, std::string> key_and_part(const std::string& name) {
  const auto slash = name.rfind('/');
  const auto dot = name.find('.', slash == std::string::npos ? 0 : slash + 1);
  if (dot == std::string::npos) return {name, ""};
  std::string part = name.substr(dot + 1);
  std::transform(part.begin(), part.end(), part.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return {name.substr(0, dot), part};
}

std::string label_in_json(const std::string& text, const std::string& where) {
  const auto object = nlohmann::json::parse(text, nullptr, false);
  for (const char* key : {"label", "cls", "class"}) {
    if (!object.is_object() || !object.contains(key)) continue;
    const auto& value = object[key];
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_integer()) return value.dump();
  }
  throw DataError(fmt::format("{} holds no label (expected for example {{\"label\": 3}})", where));
}

// Gathers the parts of samples as they come by.
class Collector {
 public:
  Collector(std::vector<Place>& places, std::vector<std::string>& names, LabelTable& labels)
      : places_(places), names_(names), labels_(labels) {}

  void add(const InputFile& archive, std::uint32_t number, const TarMember& member) {
    const auto [key, part] = key_and_part(member.name);
    if (key != key_) finish(archive);
    key_ = key;
    if (part == "jpg" || part == "jpeg" || part == "png") {
      image_ = Place{.archive = number, .label = 0, .offset = member.offset, .bytes = member.bytes};
      name_ = member.name;
    } else if (part == "cls" || part == "json") {
      const auto where = fmt::format("{}#{}", archive.path().string(), member.name);
      require(member.bytes <= kMostLabelBytes, "{} has {} bytes (a label is expected)", where, member.bytes);
      std::string text(member.bytes, '\0');
      archive.read(member.offset, std::as_writable_bytes(std::span(text)));
      text.erase(text.find_last_not_of(" \t\r\n") + 1);
      label_ = part == "cls" ? text : label_in_json(text, where);
    }
  }
  // Files that are no images, and samples without any, are none of ours; an image without a label is an error.
  void finish(const InputFile& archive) {
    if (image_) {
      require(label_.has_value(), "{}#{} has no label (a file {}.cls or .json is expected beside it)",
              archive.path().string(), name_, key_);
      image_->label = labels_.add(*label_);
      places_.push_back(*image_);
      names_.push_back(name_);
    }
    image_.reset();
    label_.reset();
    key_.clear();
  }

 private:
  std::vector<Place>& places_;
  std::vector<std::string>& names_;
  LabelTable& labels_;
  std::string key_, name_;
  std::optional<Place> image_;
  std::optional<std::string> label_;
};

bool is_archive(const std::string& name) { return name.ends_with(".tar"); }

}  // namespace

bool is_tar(const fs::path& path) {
  if (!fs::is_directory(path)) return is_archive(path.filename().string());
  return !files_by_split(path, is_archive).empty();
}

Sources open_tar(const fs::path& path) {
  struct Split {
    std::vector<InputFile> archives;
    std::vector<Place> places;
    std::vector<std::string> names;
  };
  std::map<std::string, Split> splits;
  const auto labels = std::make_shared<LabelTable>();
  for (const auto& [name, files] : files_by_split(path, is_archive)) {
    auto& split = splits[name];
    Collector collector(split.places, split.names, *labels);
    for (const auto& file : files) {
      const auto number = static_cast<std::uint32_t>(split.archives.size());
      const auto& archive = split.archives.emplace_back(file);
      for_each_member(archive, [&](const TarMember& member) { collector.add(archive, number, member); });
      collector.finish(archive);
    }
    require(!split.places.empty(), "{} holds no samples (expected files such as 0001.jpg and 0001.cls in a row)",
            files.front().string());
  }
  require(!splits.empty(), "{} holds no archives (*.tar)", path.string());
  labels->settle(named_classes(fs::is_directory(path) ? path : path.parent_path()), path.string());
  Sources sources;
  for (auto& [name, split] : splits)
    sources[name] =
        std::make_shared<TarSource>(std::move(split.archives), std::move(split.places), std::move(split.names), labels);
  return sources;
}

}  // namespace brigade::dataset
