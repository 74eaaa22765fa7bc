// A file that is read by pread(2): a file that gets shorter is an error, never a signal.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace brigade::dataset {

class PlainFile {
 public:
  explicit PlainFile(const std::filesystem::path& path);  // throws DataError
  ~PlainFile();
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;

  // All of `bytes`, from `offset`; throws DataError.
  void read(std::size_t offset, std::span<std::byte> bytes) const;
  // Asks the kernel to start reading these bytes now, without waiting for them.
  void will_need(std::size_t offset, std::size_t length) const;
  // Single pieces will be read: the kernel need not guess what comes next.
  void random() const;

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace brigade::dataset
