// The formats of other people's image collections, one file each: source_<format>.cpp.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/dataset/ingest.hpp"

namespace brigade::dataset {

// The collection as a whole cannot be read on. (A DataError while fetching a sample is that sample's alone.)
struct SourceError : Error {
  explicit SourceError(const std::string& message) : Error(ExitCode::bad_data, message) {}
};

// Whether `path` looks like this format, and all splits found in it.
bool is_brigade(const std::filesystem::path& path);
Sources open_brigade(const std::filesystem::path& path);
bool is_cifar(const std::filesystem::path& path);
Sources open_cifar(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);
Sources open_folder(const std::filesystem::path& path);
bool is_idx(const std::filesystem::path& path);
Sources open_idx(const std::filesystem::path& path);
bool is_list(const std::filesystem::path& path);
Sources open_list(const std::filesystem::path& path);
bool is_npz(const std::filesystem::path& path);
Sources open_npz(const std::filesystem::path& path);
bool is_tar(const std::filesystem::path& path);
Sources open_tar(const std::filesystem::path& path);
bool is_tfrecord(const std::filesystem::path& path);
Sources open_tfrecord(const std::filesystem::path& path);

// Parts of a collection; the sources stay as they are. selection.cpp.
Sources select_classes(const Sources& sources, const std::vector<std::string>& classes);
Sources limit_per_class(const Sources& sources, std::int64_t most, std::uint64_t seed);
Sources split_by_class(const Sources& sources, const std::map<std::string, double>& shares, std::uint64_t seed);

// A sample that is larger than this is taken for damage.
inline constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 30;

}  // namespace brigade::dataset
