/// How much processor time this process may use, where that is less than its processors have.
///
/// Containers and batch systems give a group of processes a quota of processor time a period. What waits actively
/// spends it like what computes; once it is spent, the kernel stops the group until the next period, and messages with
/// it.
#pragma once

#include <filesystem>
#include <limits>

namespace brigade {

inline constexpr double kUnlimited = std::numeric_limits<double>::infinity();

/// Where the kernel says which control groups a process belongs to, and where these are mounted.
struct ControlGroups {
  std::filesystem::path membership = "/proc/self/cgroup";
  std::filesystem::path mount = "/sys/fs/cgroup";
};

/// Processors' worth of time that the control group of this process may use, with all others in it: 0.5 is half of one
/// processor. The least over the group and those it lies in; versions 1 and 2. kUnlimited where nothing limits it, or
/// the kernel does not tell.
double processor_limit(const ControlGroups& groups = {});

}  // namespace brigade
