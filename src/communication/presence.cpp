#include "presence.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "brigade/core/host_name.hpp"
#include "check_mpi.hpp"

namespace brigade::communication {
namespace {

// A descriptor of the process, -1 where the kernel has none.
int open_process([[maybe_unused]] pid_t id) {
#ifdef SYS_pidfd_open
  return static_cast<int>(syscall(SYS_pidfd_open, id, 0));
#else
  return -1;
#endif
}

// Of the name space in which ids of processes hold: containers have their own.
std::int64_t id_space() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? static_cast<std::int64_t>(status.st_ino) : -1;
}

}  // namespace

Presence::Presence(MPI_Comm node, int rank) : memory_(node, sizeof(Notes)) {
  static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<double>::is_always_lock_free);
  if (!memory_) return;
  const std::array<std::int64_t, 3> mine{rank, getpid(), id_space()};
  std::vector<std::int64_t> all(mine.size() * static_cast<std::size_t>(memory_.ranks()));
  check_mpi(MPI_Allgather(mine.data(), static_cast<int>(mine.size()), MPI_INT64_T, all.data(),
                          static_cast<int>(mine.size()), MPI_INT64_T, node),
            "MPI_Allgather");
  for (int other = 0; other < memory_.ranks(); ++other) {
    const std::int64_t* theirs = &all[mine.size() * static_cast<std::size_t>(other)];
    if (other == memory_.rank() || theirs[2] != mine[2]) continue;
    const int descriptor = open_process(static_cast<pid_t>(theirs[1]));
    if (descriptor >= 0) neighbours_.push_back({other, static_cast<int>(theirs[0]), descriptor});
  }
}

Presence::~Presence() {
  leave();
  for (const Neighbour& neighbour : neighbours_) close(neighbour.descriptor);
}

void Presence::leave() const {
  if (memory_) memory_.notes<Notes>(memory_.rank()).left.store(true);
}

std::optional<int> Presence::missing() const {
  std::vector<pollfd> asked;
  for (const Neighbour& neighbour : neighbours_) asked.push_back({neighbour.descriptor, POLLIN, 0});
  if (asked.empty() || poll(asked.data(), asked.size(), 0) <= 0) return {};
  for (std::size_t i = 0; i < asked.size(); ++i)
    if ((asked[i].revents & POLLIN) != 0 && !memory_.notes<Notes>(neighbours_[i].node_rank).left.load() &&
        !memory_.notes<Notes>(0).announced.exchange(true))
      return neighbours_[i].rank;
  return {};
}

void Presence::live(double now) const {
  if (memory_) memory_.notes<Notes>(memory_.rank()).lived.store(now);
}

std::optional<int> Presence::silent_since(double time) const {
  for (const Neighbour& neighbour : neighbours_) {
    const double lived = memory_.notes<Notes>(neighbour.node_rank).lived.load();
    if (lived != 0 && lived < time) return neighbour.rank;
  }
  return {};
}

std::string ended_without_a_word(int rank, std::string_view what) {
  return fmt::format(
      "rank {} on host {} has ended without a word, while others waited for it in '{}'. Was it killed, "
      "or did it crash or run out of memory (see dmesg there)?",
      rank, host_name(), what);
}

}  // namespace brigade::communication
