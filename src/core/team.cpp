#include "brigade/core/team.hpp"

#include <sys/mman.h>

namespace brigade {
namespace {

class OwnBlock final : public SharedBlock {
 public:
  explicit OwnBlock(std::span<std::byte> bytes) : bytes_(bytes) {}
  ~OwnBlock() override { ::munmap(bytes_.data(), bytes_.size()); }
  OwnBlock(const OwnBlock&) = delete;
  OwnBlock& operator=(const OwnBlock&) = delete;
  std::span<std::byte> bytes() const override { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

template <class E>
[[noreturn]] void throw_everywhere(E error) {
  error.on_all_ranks = true;
  throw error;
}

}  // namespace

void Team::barrier(std::string_view /*what*/) {}
std::int64_t Team::minimum(std::int64_t mine, std::string_view /*what*/) { return mine; }

void Team::agree(std::string_view /*what*/, ExitCode code, const std::string& message) {
  if (code != ExitCode::done) throw_on_all_ranks(code, message);
}

std::unique_ptr<SharedBlock> Team::share(std::size_t size, std::string_view /*what*/) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  return std::make_unique<OwnBlock>(std::span(static_cast<std::byte*>(memory), size));
}

std::unique_ptr<MpiHandles> Team::mpi(const std::map<std::string, std::string>& /*hints*/) { return nullptr; }
std::unique_ptr<WatchedCall> Team::watch_call(std::string_view /*what*/) { return nullptr; }

Team& alone() {
  static Team team;
  return team;
}

void throw_on_all_ranks(ExitCode code, const std::string& message) {
  switch (code) {
    case ExitCode::bad_options: throw_everywhere(OptionError(message));
    case ExitCode::bad_data: throw_everywhere(DataError(message));
    case ExitCode::diverged: throw_everywhere(DivergedError(message));
    case ExitCode::peer_lost: throw_everywhere(PeerError(message));
    default: throw_everywhere(Error(code, message));
  }
}

}  // namespace brigade
