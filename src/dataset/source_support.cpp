#include "source_support.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <sstream>
#include <utility>

#include "brigade/core/atomic_file.hpp"

namespace brigade::dataset {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostClasses = 1 << 20;  // of numbered ones; a larger label is taken for damage

// A whole number in [0, kMostClasses), or -1.
std::int64_t number_of(std::string_view text) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && number < kMostClasses ? number : -1;
}

}  // namespace

std::vector<std::string> numbered_classes(std::int64_t count) {
  std::vector<std::string> classes;
  for (std::int64_t label = 0; label < count; ++label) classes.push_back(std::to_string(label));
  return classes;
}

std::vector<std::string> read_lines(const fs::path& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> named_classes(const fs::path& directory) {
  for (const char* name : {"classes.txt", "labels.txt"}) {
    if (!fs::is_regular_file(directory / name)) continue;
    auto classes = read_lines(directory / name);
    for (std::size_t i = 0; i < classes.size(); ++i) {
      const auto colon = classes[i].find(':');
      if (number_of(classes[i].substr(0, colon)) == static_cast<std::int64_t>(i) && colon != std::string::npos)
        classes[i].erase(0, colon + 1);
    }
    return classes;
  }
  return {};
}

std::int32_t LabelTable::add(std::string_view label) {
  const auto [found, added] = index_.try_emplace(std::string(label), static_cast<std::int32_t>(met_.size()));
  if (added) met_.emplace_back(label);
  return found->second;
}

void LabelTable::settle(const std::vector<std::string>& names, const std::string& where) {
  std::vector<std::int64_t> numbers;
  for (const auto& label : met_) numbers.push_back(number_of(label));
  const bool all_numbers = std::all_of(numbers.begin(), numbers.end(), [](std::int64_t n) { return n >= 0; });
  if (all_numbers)
    settle_numbers(numbers, names, where);
  else
    settle_names(names, where);
}

void LabelTable::settle_numbers(const std::vector<std::int64_t>& numbers, const std::vector<std::string>& names,
                                const std::string& where) {
  const std::int64_t most = numbers.empty() ? -1 : *std::max_element(numbers.begin(), numbers.end());
  classes_ = names.empty() ? numbered_classes(most + 1) : names;
  require(most < static_cast<std::int64_t>(classes_.size()), "{} has label {} (there are {} class names)", where, most,
          classes_.size());
  for (const std::int64_t number : numbers) final_.push_back(static_cast<std::int32_t>(number));
}

void LabelTable::settle_names(const std::vector<std::string>& names, const std::string& where) {
  classes_ = names.empty() ? met_ : names;
  if (names.empty()) std::sort(classes_.begin(), classes_.end());
  std::unordered_map<std::string, std::int32_t> place;
  for (const auto& name : classes_) place.try_emplace(name, static_cast<std::int32_t>(place.size()));
  for (const auto& label : met_) {
    const auto found = place.find(label);
    require(found != place.end(), "{} has label '{}' (it is none of the {} class names)", where, label,
            classes_.size());
    final_.push_back(found->second);
  }
}

InputFile::InputFile(const fs::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require(descriptor_ >= 0, "cannot open {} ({})", path.string(), std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  size_ = static_cast<std::uint64_t>(status.st_size);
  if (!regular) ::close(std::exchange(descriptor_, -1));
  require(regular, "cannot read {} (it is not a regular file)", path.string());
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const auto got = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    require<SourceError>(got > 0, "{} is truncated or cannot be read ({} bytes from {} are missing; {})",
                         path_.string(), bytes.size(), offset, got < 0 ? std::strerror(errno) : "end of file");
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

void read_image_file(const fs::path& path, std::vector<std::byte>& bytes) {
  const InputFile file(path);
  require(file.size() <= kLargestFile, "the file has {} bytes, more than {}", file.size(), kLargestFile);
  bytes.resize(file.size());
  try {
    file.read(0, bytes);
  } catch (const SourceError& error) {
    throw DataError(error.what());
  }
}

std::map<std::string, std::vector<fs::path>> files_by_split(const fs::path& path,
                                                            bool (*belongs)(const std::string& name)) {
  std::map<std::string, std::vector<fs::path>> found;
  if (!fs::is_directory(path)) return {{"train", {path}}};
  for (const auto& entry : fs::directory_iterator(path)) {
    std::string name = entry.path().filename().string();
    if (!belongs(name) || !entry.is_regular_file()) continue;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    // "flowers_validation_00000-of-00005.tfrecord" says so in its middle.
    const auto says = [&](const char* word) {
      const auto place = name.find(word);
      return place != std::string::npos &&
             (place == 0 || std::isalnum(static_cast<unsigned char>(name[place - 1])) == 0);
    };
    found[says("val") ? "val" : says("test") ? "test" : "train"].push_back(entry.path());
  }
  for (auto& [split, files] : found) std::sort(files.begin(), files.end());
  if (found.size() == 1) return {{"train", found.begin()->second}};  // a collection without a split of its own
  return found;
}

}  // namespace brigade::dataset
