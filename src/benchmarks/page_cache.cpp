#include "page_cache.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "brigade/core/error.hpp"

namespace brigade::benchmarks {
namespace {

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    require(descriptor_ >= 0, "cannot open {} ({})", path.string(), std::strerror(errno));
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int descriptor() const { return descriptor_; }
  std::size_t size() const {
    struct stat status {};
    return ::fstat(descriptor_, &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0;
  }

 private:
  int descriptor_;
};

}  // namespace

double resident_share(Paths files) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::size_t resident = 0, all = 0;
  std::vector<unsigned char> pages;
  for (const auto& path : files) {
    const OpenFile file(path);
    const std::size_t bytes = file.size();
    if (bytes == 0) continue;
    void* memory = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    require(memory != MAP_FAILED, "cannot map {} ({})", path.string(), std::strerror(errno));
    pages.assign((bytes + page - 1) / page, 0);
    const bool known = ::mincore(memory, bytes, pages.data()) == 0;
    ::munmap(memory, bytes);
    require(known, "the kernel does not tell what of {} is in memory", path.string());
    all += pages.size();
    resident += static_cast<std::size_t>(std::ranges::count_if(pages, [](unsigned char p) { return (p & 1) != 0; }));
  }
  return all == 0 ? 0 : static_cast<double>(resident) / static_cast<double>(all);
}

void drop_page_cache(Paths files) {
  for (const auto& path : files) {
    const OpenFile file(path);
    ::fdatasync(file.descriptor());  // pages not yet written cannot be dropped
    const int failed = ::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
    require(failed == 0, "{} cannot be dropped from the page cache ({})", path.string(), std::strerror(failed));
  }
}

void fill_page_cache(Paths files) {
  std::vector<char> buffer(std::size_t{4} << 20);
  for (const auto& path : files) {
    const OpenFile file(path);
    ssize_t got = 0;
    while ((got = ::read(file.descriptor(), buffer.data(), buffer.size())) > 0) continue;
    require(got == 0, "cannot read {} ({})", path.string(), std::strerror(errno));
  }
}

}  // namespace brigade::benchmarks
