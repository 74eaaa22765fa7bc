#include "mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "brigade/core/error.hpp"
#include "mapping_watch.hpp"

namespace brigade::dataset {
namespace {

std::size_t page_bytes() {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return page;
}

// madvise wants whole pages; advice that fails costs nothing but speed.
void advise(std::span<const std::byte> bytes, std::size_t offset, std::size_t length, int advice) {
  const std::size_t begin = offset / page_bytes() * page_bytes();
  if (length > 0) ::madvise(const_cast<std::byte*>(bytes.data()) + begin, offset + length - begin, advice);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require(descriptor >= 0, "cannot open {} ({})", path.string(), std::strerror(errno));
  struct stat status {};
  void* memory = nullptr;
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (regular && size > 0) memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  const int why = errno;
  ::close(descriptor);
  require(regular, "cannot map {} (it is not a regular file)", path.string());
  require(memory != MAP_FAILED, "cannot map {} ({}). Use the reader `independent`?", path.string(), std::strerror(why));
  bytes_ = {static_cast<const std::byte*>(memory), size};
  if (size > 0) watched_ = watch_mapping(bytes_, path);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), watched_(std::exchange(other.watched_, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(watched_, other.watched_);
  return *this;
}

MappedFile::~MappedFile() {
  unwatch_mapping(watched_);
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::will_need(std::size_t offset, std::size_t length) const {
  advise(bytes_, offset, length, MADV_WILLNEED);
}

void MappedFile::sequential() const { advise(bytes_, 0, bytes_.size(), MADV_SEQUENTIAL); }
void MappedFile::random() const { advise(bytes_, 0, bytes_.size(), MADV_RANDOM); }

}  // namespace brigade::dataset
