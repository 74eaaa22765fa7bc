// Arrays in a .npz file: a zip archive (stored or deflated) of .npy files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "source_support.hpp"

namespace brigade::dataset {

// What the header of a .npy file says.
struct NpyHeader {
  std::string type;  // "|u1", "<i8", ...
  std::vector<std::uint64_t> shape;
  std::uint64_t bytes = 0;  // of the header; the numbers follow
  std::uint64_t item_bytes() const;
  std::uint64_t data_bytes() const;  // of all items
};

// Parses the beginning of a .npy file. Throws DataError (without a file name).
NpyHeader parse_npy(std::span<const std::byte> beginning);

// One array of the archive. Stored ones are read where they lie; deflated ones are unpacked into a temporary file
// when the first item is asked for, because deflate cannot be entered in the middle.
class NpzArray {
 public:
  // Throws DataError, naming file and array. Nothing if the archive holds no such array.
  static std::shared_ptr<const NpzArray> open(const std::filesystem::path& archive, const std::string& name);
  virtual ~NpzArray() = default;

  const NpyHeader& header() const { return header_; }
  // Replaces `bytes` by item `index` along the first axis. The first call compares the archive's checksum over the
  // whole array. Thread-safe. Throws SourceError.
  virtual void read(std::uint64_t index, std::vector<std::byte>& bytes) const = 0;

 protected:
  NpyHeader header_;
};

}  // namespace brigade::dataset
