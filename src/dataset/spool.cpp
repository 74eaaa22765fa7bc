#include "spool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace brigade::dataset {

Spool::Spool(const std::filesystem::path& beside) {
  std::string name = beside.string() + ".XXXXXX";
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  path_ = name;
  require<WriteError>(descriptor_ >= 0, "cannot create {} ({})", path_.string(), std::strerror(errno));
  ::unlink(path_.c_str());
}

Spool::~Spool() { ::close(descriptor_); }

void Spool::append(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    require<WriteError>(written > 0, "cannot write {} ({}). Is the disk full?", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void Spool::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const auto got = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    require<WriteError>(got > 0, "cannot read {} back ({})", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

void Spool::read(std::uint64_t offset, std::span<std::uint8_t> bytes) const {
  read(offset, std::as_writable_bytes(bytes));
}

std::unique_ptr<Spool> unpacked(std::uint64_t total, const std::function<void(std::span<std::uint8_t>)>& next) {
  constexpr std::uint64_t kPieceBytes = 1 << 20;
  auto spool = std::make_unique<Spool>(std::filesystem::temp_directory_path() / "brigade-unpacked");
  std::vector<std::uint8_t> piece(std::min(total, kPieceBytes));
  for (std::uint64_t left = total; left > 0; left -= piece.size()) {
    piece.resize(std::min(left, kPieceBytes));
    next(piece);
    spool->append(piece);
  }
  return spool;
}

}  // namespace brigade::dataset
