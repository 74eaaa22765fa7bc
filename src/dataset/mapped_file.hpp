// A file as read-only memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace brigade::dataset {

// The whole file as it is when opened. If it gets shorter afterwards, or storage fails, the process ends when a missing
// page is touched, with a message and exit code 3 (mapping_watch.hpp); finished shards never change, they are only
// replaced by renaming.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);  // throws DataError
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

  // Asks the kernel to start reading these bytes now, without waiting for them.
  void will_need(std::size_t offset, std::size_t length) const;
  // The file will be read from front to back.
  void sequential() const;
  // Single samples will be read: the kernel need not guess what comes next.
  void random() const;

 private:
  std::span<const std::byte> bytes_;
  int watched_ = -1;
};

}  // namespace brigade::dataset
