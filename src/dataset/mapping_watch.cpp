// A signal handler may neither lock nor allocate: mappings stand in a table of atomic numbers, and the message is put
// together on the stack. It cannot return either, since the missing bytes do not exist, nor throw from anywhere in the
// program: this is the one place besides main() that ends the process. Everything is written beside its final name, so
// that nothing is left half-written.
#include "mapping_watch.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

constexpr std::size_t kMostMappings = 4096, kLongestPath = 240;

struct Mapping {
  std::atomic<std::uintptr_t> begin = 0, end = 0;  // end is 0: free
  std::array<char, kLongestPath> path{};
};
std::array<Mapping, kMostMappings> mappings;
std::mutex writing;
struct sigaction before;  // what was to happen on SIGBUS

void say(const char* text) {
  const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(written);  // nothing else can be done about it
}

void on_bus_error(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Mapping& mapping : mappings) {
    const bool sent = info->si_code <= 0;  // by a process, without an address
    if (sent || address < mapping.begin || address >= mapping.end) continue;
    say("brigade: ");
    say(mapping.path.data());
    say(" cannot be read on (it got shorter, or its storage failed, while it was in use). Copy it again, and replace "
        "files by renaming?\n");
    ::_exit(static_cast<int>(ExitCode::bad_data));
  }
  ::sigaction(SIGBUS, &before, nullptr);  // not ours: what was to happen happens
  ::raise(SIGBUS);
}

void install() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &before);
}

}  // namespace

int watch_mapping(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  static std::once_flag installed;
  std::call_once(installed, install);
  const std::lock_guard lock(writing);
  for (std::size_t place = 0; place < kMostMappings; ++place) {
    Mapping& mapping = mappings[place];
    if (mapping.end != 0) continue;
    const std::string text = path.string();
    const std::string shown = text.size() < kLongestPath ? text : "..." + text.substr(text.size() - kLongestPath + 4);
    std::strcpy(mapping.path.data(), shown.c_str());
    mapping.begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    mapping.end = mapping.begin + bytes.size();
    return static_cast<int>(place);
  }
  return -1;
}

void unwatch_mapping(int place) {
  if (place < 0) return;
  const std::lock_guard lock(writing);
  mappings[static_cast<std::size_t>(place)].end = 0;
}

}  // namespace brigade::dataset
