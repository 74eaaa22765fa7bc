/// Everything that writes a file writes it beside its final name and renames it, so that a reader
/// never sees half a file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace brigade {

/// The path to write to before commit(); removed by the destructor if commit() was never reached.
class AtomicFile {
 public:
  /// `<final>.partial-<pid>` in the same directory.
  explicit AtomicFile(std::filesystem::path final_path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& path() const { return partial_; }
  /// Flushes the file to storage and renames it. Throws DataError if either fails.
  void commit();

 private:
  std::filesystem::path final_, partial_;
  bool committed_ = false;
};

/// Writes a whole small text file atomically. Throws DataError.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Reads a whole text file; throws DataError if it cannot be read or exceeds `limit_bytes`.
std::string read_file(const std::filesystem::path& path, std::size_t limit_bytes = 64U << 20);

}  // namespace brigade
