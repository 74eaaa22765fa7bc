// Where data lies and could lie: kinds of file systems, free memory and storage of this node.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace brigade::dataset {

struct FileSystem {
  std::string name;     // "lustre"; "local" if it is none of those known to be remote
  bool remote = false;  // other nodes serve it
  std::int64_t free_bytes = 0;
};

FileSystem file_system_of(const std::filesystem::path& path);

// What the ranks of this node may still put into shared memory: bounded by free memory, the control group's limit and
// the room in /dev/shm, with a tenth left alone.
std::int64_t free_memory_bytes();

// `wanted`, or where temporary files go: $TMPDIR, else /tmp.
std::filesystem::path stage_directory(const std::filesystem::path& wanted);

}  // namespace brigade::dataset
