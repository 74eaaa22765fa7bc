// The formats of other people's image collections, one file each: source_idx.cpp, source_cifar.cpp, source_folder.cpp.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/dataset/ingest.hpp"

namespace brigade::dataset {

using Sources = std::map<std::string, std::unique_ptr<Source>>;

// The collection as a whole cannot be read on. (A DataError while reading a sample is that sample's alone.)
struct SourceError : Error {
  explicit SourceError(const std::string& message) : Error(ExitCode::bad_data, message) {}
};

// Whether `directory` looks like this format, and all splits found in it.
bool is_idx(const std::filesystem::path& directory);
Sources open_idx(const std::filesystem::path& directory);
bool is_cifar(const std::filesystem::path& directory);
Sources open_cifar(const std::filesystem::path& directory);
bool is_folder(const std::filesystem::path& directory);
Sources open_folder(const std::filesystem::path& directory, std::int64_t image_size);

// "0", "1", ... for collections that do not name their classes.
std::vector<std::string> numbered_classes(std::int64_t count);
// The lines of a small text file that are not empty, without trailing blanks.
std::vector<std::string> read_lines(const std::filesystem::path& path);

}  // namespace brigade::dataset
