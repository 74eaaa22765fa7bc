// What is too large for memory, on its way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "brigade/core/error.hpp"

namespace brigade::dataset {

// Files of this program cannot be written on. (A DataError while a sample is read is that sample's alone.)
struct WriteError : Error {
  explicit WriteError(const std::string& message) : Error(ExitCode::bad_data, message) {}
};

// A temporary file without a name: it is gone when it is closed, whatever happens. Any number of threads may read.
class Spool {
 public:
  explicit Spool(const std::filesystem::path& beside);  // in the directory of this file
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  void append(std::span<const std::uint8_t> bytes);
  void read(std::uint64_t offset, std::span<std::uint8_t> bytes) const;
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// `total` bytes, of which `next` fills in some after others, on disk: in the directory for temporary files (TMPDIR).
std::unique_ptr<Spool> unpacked(std::uint64_t total, const std::function<void(std::span<std::uint8_t>)>& next);

}  // namespace brigade::dataset
