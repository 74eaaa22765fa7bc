// TFRecord files of tf.Example (https://www.tensorflow.org/tutorials/load_data/tfrecord): a record is
//
//   uint64 length | uint32 masked CRC-32C of the length | data | uint32 masked CRC-32C of the data
//
// little-endian, masked(crc) = rotate_right(crc, 15) + 0xa282ead8. The data are a protocol buffer:
//
//   Example { Features features = 1; }    Features { map<string, Feature> feature = 1; }
//   Feature { oneof { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
//   BytesList { repeated bytes value = 1; }    Int64List { repeated int64 value = 1 [packed]; }
//
// of which one image and its label are wanted: "image/encoded" or "image" (JPEG or PNG), "image/class/label" or
// "label", and "image/class/text", the name of the class. The wire format is walked where it lies instead of being
// copied into generated classes: opening reads the few pages that hold lengths and labels, not the images between them.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "brigade/core/checksum.hpp"
#include "mapped_file.hpp"
#include "source_support.hpp"
#include "tfrecord.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

struct Place {
  std::uint32_t file;
  std::int32_t label;
  std::uint64_t offset, bytes;  // of the record's data
  std::uint32_t image_offset, image_bytes;
};

class TfrecordSource final : public Source {
 public:
  TfrecordSource(std::vector<InputFile> files, std::vector<Place> places, std::shared_ptr<const LabelTable> labels)
      : files_(std::move(files)), places_(std::move(places)), labels_(std::move(labels)) {
    firsts_.resize(files_.size() + 1, static_cast<std::int64_t>(places_.size()));
    for (std::size_t i = places_.size(); i-- > 0;) firsts_[places_[i].file] = static_cast<std::int64_t>(i);
  }
  std::int64_t samples() const override { return static_cast<std::int64_t>(places_.size()); }
  std::vector<std::string> classes() const override { return labels_->classes(); }
  std::int32_t label(std::int64_t index) const override { return labels_->class_of(place(index).label); }
  std::string name(std::int64_t index) const override {
    const auto file = place(index).file;
    return fmt::format("{}#{}", files_[file].path().filename().string(), index - firsts_[file]);
  }
  // The record's checksum is over all of it, so all of it is read.
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    const auto& at = place(index);
    bytes.resize(at.bytes + kTfrecordFooter);
    files_[at.file].read(at.offset, bytes);
    require(tfrecord_checksum(std::span(bytes).first(at.bytes)) == little_endian_32(std::span(bytes).subspan(at.bytes)),
            "the record is damaged (its bytes do not match its CRC-32C)");
    std::memmove(bytes.data(), bytes.data() + at.image_offset, at.image_bytes);
    bytes.resize(at.image_bytes);
  }

 private:
  const Place& place(std::int64_t index) const { return places_[static_cast<std::size_t>(index)]; }

  std::vector<InputFile> files_;
  std::vector<Place> places_;
  std::vector<std::int64_t> firsts_;  // sample of each file
  std::shared_ptr<const LabelTable> labels_;
};

bool is_record_file(const std::string& name) {
  return name.ends_with(".tfrecord") || name.ends_with(".tfrecords") || name.find(".tfrecord-") != std::string::npos ||
         name.ends_with(".tfrec");
}

// What a collection says of its classes: the number of a class, and perhaps its name.
class Labels {
 public:
  // The label as the table shall know it.
  std::string of(const TfExample& example) {
    if (!example.label) return std::string(*example.text);
    if (example.text) names_.try_emplace(*example.label, *example.text);
    return std::to_string(*example.label);
  }
  // By number; a number without a name is its own.
  std::vector<std::string> names() const {
    if (names_.empty() || names_.begin()->first < 0 || names_.rbegin()->first >= kMostNames) return {};
    auto names = numbered_classes(names_.rbegin()->first + 1);
    for (const auto& [label, name] : names_) names[static_cast<std::size_t>(label)] = name;
    return names;
  }

 private:
  static constexpr std::int64_t kMostNames = 1 << 20;
  std::map<std::int64_t, std::string> names_;
};

std::vector<Place> index_of(const fs::path& path, std::uint32_t number, Labels& names, LabelTable& labels) {
  const MappedFile mapping(path);
  mapping.random();
  std::vector<Place> places;
  for_each_record(mapping.bytes(), path.string(), [&](std::uint64_t offset, std::span<const std::byte> data) {
    const auto where = fmt::format("{}#{}", path.string(), places.size());
    const TfExample example = read_example(data, where);
    const auto image_offset = static_cast<std::uint64_t>(example.image.data() - data.data());
    require(data.size() <= kLargestFile, "{} has {} bytes, more than {}", where, data.size(), kLargestFile);
    places.push_back({.file = number,
                      .label = labels.add(names.of(example)),
                      .offset = offset,
                      .bytes = data.size(),
                      .image_offset = static_cast<std::uint32_t>(image_offset),
                      .image_bytes = static_cast<std::uint32_t>(example.image.size())});
  });
  return places;
}

}  // namespace

bool is_tfrecord(const fs::path& path) {
  if (!fs::is_directory(path)) return is_record_file(path.filename().string());
  return !files_by_split(path, is_record_file).empty();
}

Sources open_tfrecord(const fs::path& path) {
  struct Split {
    std::vector<InputFile> files;
    std::vector<Place> places;
  };
  std::map<std::string, Split> splits;
  const auto labels = std::make_shared<LabelTable>();
  Labels names;
  for (const auto& [name, paths] : files_by_split(path, is_record_file)) {
    auto& split = splits[name];
    for (const auto& file : paths) {
      const auto places = index_of(file, static_cast<std::uint32_t>(split.files.size()), names, *labels);
      split.places.insert(split.places.end(), places.begin(), places.end());
      split.files.emplace_back(file);
    }
    require(!split.places.empty(), "{} holds no records", paths.front().string());
  }
  require(!splits.empty(), "{} holds no TFRecord files (*.tfrecord, *.tfrecord-*)", path.string());
  const auto named = named_classes(fs::is_directory(path) ? path : path.parent_path());
  labels->settle(named.empty() ? names.names() : named, path.string());
  Sources sources;
  for (auto& [name, split] : splits)
    sources[name] = std::make_shared<TfrecordSource>(std::move(split.files), std::move(split.places), labels);
  return sources;
}

}  // namespace brigade::dataset
