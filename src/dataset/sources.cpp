#include "sources.hpp"

#include <sstream>

#include "brigade/core/atomic_file.hpp"

namespace brigade::dataset {

std::vector<std::string> numbered_classes(std::int64_t count) {
  std::vector<std::string> classes;
  for (std::int64_t label = 0; label < count; ++label) classes.push_back(std::to_string(label));
  return classes;
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::map<std::string, std::unique_ptr<Source>> open_sources(const SourceOptions& options) {
  const auto& path = options.path;
  const auto& format = options.format;
  require<OptionError>(format == "auto" || format == "idx" || format == "cifar" || format == "folder",
                       "unknown source format '{}' (auto, idx, cifar or folder)", format);
  require<OptionError>(options.image_size >= 0 && options.image_size <= 4096,
                       "images cannot be scaled to {} pixels (1 to 4096, or 0 to leave them as they are)",
                       options.image_size);
  std::error_code error;
  require(std::filesystem::is_directory(path, error), "the source {} cannot be read ({})", path.string(),
          error ? error.message() : "it is not a directory");
  const bool guess = format == "auto";
  if (format == "idx" || (guess && is_idx(path))) return open_idx(path);
  if (format == "cifar" || (guess && is_cifar(path))) return open_cifar(path);
  if (format == "folder" || (guess && is_folder(path))) return open_folder(path, options.image_size);
  throw DataError(fmt::format(
      "the source {} holds nothing known (looked for train-images-idx3-ubyte[.gz], data_batch_1.bin, train.bin, and "
      "directories of images). Give its --format?",
      path.string()));
}

}  // namespace brigade::dataset
