#include "places.hpp"

#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <utility>

namespace brigade::dataset {
namespace {

// f_type of statfs(2): linux/magic.h, and the file systems' own sources.
constexpr std::pair<std::uint32_t, const char*> kRemote[] = {
    {0x6969, "nfs"},      {0x0BD00BD0, "lustre"}, {0x47504653, "gpfs"},     {0x19830326, "beegfs"},
    {0xFF534D42, "cifs"}, {0xFE534D42, "smb2"},   {0x517B, "smb"},          {0x00C36400, "ceph"},
    {0x5346414F, "afs"},  {0xAAD7AAEA, "panfs"},  {0x20030528, "orangefs"}, {0x01021997, "9p"},
    {0x65735546, "fuse"}};

std::int64_t first_number(const char* file) {
  std::ifstream in(file);
  std::int64_t number = -1;
  in >> number;  // "max" gives none
  return in ? number : -1;
}

// Of /proc/meminfo, which counts what the page cache would give up.
std::int64_t available_bytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string key, rest; in >> key; std::getline(in, rest)) {
    std::int64_t kilobytes = 0;
    if (key == "MemAvailable:" && in >> kilobytes) return kilobytes * 1024;
  }
  return std::numeric_limits<std::int64_t>::max();
}

}  // namespace

FileSystem file_system_of(const std::filesystem::path& path) {
  FileSystem found{.name = "local"};
  struct statfs status {};
  if (::statfs(path.c_str(), &status) != 0) return found;
  found.free_bytes = static_cast<std::int64_t>(status.f_bavail) * static_cast<std::int64_t>(status.f_bsize);
  const auto type = static_cast<std::uint32_t>(status.f_type);
  for (const auto& [magic, name] : kRemote)
    if (magic == type) {
      found.name = name;
      found.remote = true;
    }
  return found;
}

std::int64_t free_memory_bytes() {
  std::int64_t free = available_bytes();
  for (const auto& [limit, usage] :
       {std::pair{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"}}) {
    const std::int64_t most = first_number(limit), used = first_number(usage);
    if (most > 0 && used >= 0) free = std::min(free, most - used);
  }
  struct statvfs shared {};
  if (::statvfs("/dev/shm", &shared) == 0)
    free = std::min(free, static_cast<std::int64_t>(shared.f_bavail) * static_cast<std::int64_t>(shared.f_frsize));
  return free / 10 * 9;
}

std::filesystem::path stage_directory(const std::filesystem::path& wanted) {
  if (!wanted.empty()) return wanted;
  const char* temporary = std::getenv("TMPDIR");
  return temporary != nullptr && *temporary != '\0' ? temporary : "/tmp";
}

}  // namespace brigade::dataset
