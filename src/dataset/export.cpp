#include "brigade/dataset/export.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/dataset/sampling.hpp"
#include "encode_image.hpp"
#include "tfrecord.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

// Samples of a source as image files.
class ImageFiles {
 public:
  explicit ImageFiles(const Source& source) : source_(source) {}
  std::span<const std::byte> get(std::int64_t index) {
    source_.fetch(index, fetched_);
    const auto shape = source_.pixels();
    if (!shape) return fetched_;
    pixels_.resize(fetched_.size());
    std::memcpy(pixels_.data(), fetched_.data(), fetched_.size());
    encode_png(pixels_, *shape, encoded_);
    return std::as_bytes(std::span(encoded_));
  }

 private:
  const Source& source_;
  std::vector<std::byte> fetched_;
  std::vector<std::uint8_t> pixels_, encoded_;
};

const char* extension(std::span<const std::byte> file) {
  return !file.empty() && file[0] == std::byte{0xFF} ? "jpg" : "png";
}

class OutputFile {
 public:
  explicit OutputFile(const fs::path& path) : path_(path), out_(path, std::ios::binary | std::ios::trunc) {
    require(out_.good(), "cannot write {}. Is the directory somebody else's?", path_.string());
  }
  void write(std::string_view bytes) { out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size())); }
  void close() {
    out_.close();
    require(out_.good(), "cannot write {}. Is the disk full?", path_.string());
  }

 private:
  fs::path path_;
  std::ofstream out_;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void make_directory(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  require(!error, "cannot make the directory {} ({})", directory.string(), error.message());
}

}  // namespace

std::string directory_name(std::string class_name) {
  std::ranges::replace(class_name, '/', '_');
  return class_name.empty() || class_name.front() == '.' ? "_" + class_name : class_name;
}

void write_image_files(const Source& source, const fs::path& directory, const ExportShare& share) {
  std::vector<fs::path> classes;
  for (const auto& name : source.classes()) classes.push_back(directory / directory_name(name));
  for (const auto& path : classes) make_directory(path);
  ImageFiles files(source);
  const Range own = part_of(source.samples(), share.rank, share.size);
  for (std::int64_t i = own.begin; i < own.end; ++i) {
    const auto bytes = files.get(i);
    const auto& place = classes[static_cast<std::size_t>(source.label(i))];
    OutputFile out(place / fmt::format("{:08}.{}", i, extension(bytes)));
    out.write(text_of(bytes));
    out.close();
  }
}

void write_tfrecords(const Source& source, const fs::path& directory, std::int64_t records_per_file,
                     const ExportShare& share) {
  EXPECT(records_per_file >= 1);
  make_directory(directory);
  const auto classes = source.classes();
  const std::int64_t count = (source.samples() + records_per_file - 1) / records_per_file;
  ImageFiles files(source);
  for (std::int64_t number = share.rank; number < count; number += share.size) {
    OutputFile out(directory / fmt::format("train-{:05}-of-{:05}.tfrecord", number, count));
    const std::int64_t end = std::min(source.samples(), (number + 1) * records_per_file);
    for (std::int64_t i = number * records_per_file; i < end; ++i) {
      const std::int32_t label = source.label(i);
      out.write(tfrecord(write_example(files.get(i), label, classes[static_cast<std::size_t>(label)])));
    }
    out.close();
  }
}

}  // namespace brigade::dataset
