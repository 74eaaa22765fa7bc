#include "brigade/core/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "brigade/core/error.hpp"

namespace brigade {
namespace fs = std::filesystem;
namespace {

// Asks the kernel to put a file's (or directory's) content on storage.
bool flush_to_storage(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool ok = ::fsync(descriptor) == 0;
  ::close(descriptor);
  return ok;
}

}  // namespace

AtomicFile::AtomicFile(fs::path final_path)
    : final_(std::move(final_path)), partial_(fmt::format("{}.partial-{}", final_.string(), ::getpid())) {}

AtomicFile::~AtomicFile() {
  std::error_code ignored;
  if (!committed_) fs::remove(partial_, ignored);
}

void AtomicFile::commit() {
  require(flush_to_storage(partial_), "cannot flush {} ({}). Is the disk full?", partial_.string(),
          std::strerror(errno));
  std::error_code error;
  fs::rename(partial_, final_, error);
  require(!error, "cannot rename {} to {} ({})", partial_.string(), final_.string(), error.message());
  flush_to_storage(final_.has_parent_path() ? final_.parent_path() : fs::path("."));
  committed_ = true;
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  std::ofstream out(file.path(), std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  require(out.good(), "cannot write {} ({}). Does the directory exist, and is there space?", path.string(),
          std::strerror(errno));
  file.commit();
}

std::string read_file(const fs::path& path, std::size_t limit_bytes) {
  std::ifstream in(path, std::ios::binary);
  require(in.good(), "cannot open {} ({})", path.string(), std::strerror(errno));
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  require(!error && bytes <= limit_bytes, "cannot read {} (it is no regular file, or larger than {} bytes)",
          path.string(), limit_bytes);
  std::string text(bytes, '\0');
  in.read(text.data(), static_cast<std::streamsize>(bytes));
  require(in.gcount() == static_cast<std::streamsize>(bytes), "cannot read {} (it got shorter meanwhile)",
          path.string());
  return text;
}

}  // namespace brigade
