// Version 2 (kernel documentation, admin-guide/cgroup-v2.rst): one line "0::/path"; `cpu.max` holds "quota period" or
// "max period". Version 1 (scheduler/sched-bwc.rst): a line "N:cpu,cpuacct:/path"; `cpu.cfs_quota_us` is -1 without a
// limit.
//
// A container may see its own group mounted as the root, while the path is that outside: what does not exist below the
// mount is looked for at the mount itself.
#include "brigade/core/processor_limit.hpp"

#include <algorithm>
#include <fstream>
#include <string>

namespace brigade {
namespace {

namespace fs = std::filesystem;

double limit_of_group(const fs::path& group) {
  double quota_us = 0, period_us = 0;
  if (std::ifstream both(group / "cpu.max"); !(both >> quota_us >> period_us)) {  // "max" is no number
    std::ifstream(group / "cpu.cfs_quota_us") >> quota_us;
    std::ifstream(group / "cpu.cfs_period_us") >> period_us;
  }
  return quota_us > 0 && period_us > 0 ? quota_us / period_us : kUnlimited;
}

// The least of the group and of all between it and the mount.
double limit_below(const fs::path& mount, const fs::path& path) {
  double least = limit_of_group(mount);
  fs::path group = mount;
  std::error_code ignored;
  if (fs::exists(mount / path, ignored))
    for (const fs::path& part : path) least = std::min(least, limit_of_group(group /= part));
  return least;
}

bool has_cpu(const std::string& controllers) { return ("," + controllers + ",").find(",cpu,") != std::string::npos; }

}  // namespace

double processor_limit(const ControlGroups& groups) {
  double least = kUnlimited;
  std::ifstream membership(groups.membership);
  for (std::string line; std::getline(membership, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path path = fs::path(line.substr(second + 1)).relative_path();
    if (controllers.empty())
      least = std::min(least, limit_below(groups.mount, path));
    else if (has_cpu(controllers))
      for (const std::string& name : {controllers, std::string("cpu")})
        least = std::min(least, limit_below(groups.mount / name, path));
  }
  return least;
}

}  // namespace brigade
