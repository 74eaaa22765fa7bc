#include "plain_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "brigade/core/error.hpp"

namespace brigade::dataset {

PlainFile::PlainFile(const std::filesystem::path& path)
    : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  require(descriptor_ >= 0, "cannot open {} ({})", path.string(), std::strerror(errno));
}

PlainFile::~PlainFile() { ::close(descriptor_); }

void PlainFile::read(std::size_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    require(got >= 0, "cannot read {} at byte {} ({})", path_.string(), offset, std::strerror(errno));
    require(got > 0, "{} ends at byte {}, before what it held when it was opened (truncated meanwhile?)",
            path_.string(), offset);
    offset += static_cast<std::size_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

// Advice that fails costs nothing but speed.
void PlainFile::will_need(std::size_t offset, std::size_t length) const {
  ::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
}

void PlainFile::random() const { ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_RANDOM); }

}  // namespace brigade::dataset
