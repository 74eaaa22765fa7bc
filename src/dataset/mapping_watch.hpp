// Reading a mapped file that got shorter, or whose storage failed, raises SIGBUS. Here it becomes what the same
// accident is to any other reader: a message that names the file, and the exit code for bad data.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace brigade::dataset {

// Marks a mapping as one of a file; the result is for unwatch_mapping(). More than there is room for go without.
int watch_mapping(std::span<const std::byte> bytes, const std::filesystem::path& path);
void unwatch_mapping(int place);

}  // namespace brigade::dataset
