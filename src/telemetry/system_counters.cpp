// Formats: proc_pid_io(5), proc_stat(5), proc_meminfo(5); diskstats in the kernel's Documentation/admin-guide/
// iostats.rst (sectors of 512 bytes, milliseconds); net/dev in proc_pid_net(5).
#include "brigade/telemetry/system_counters.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace brigade::telemetry {
namespace {

constexpr std::int64_t kSectorBytes = 512;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

void read_processors(NodeCounters& counters) {
  std::ifstream in("/proc/stat");
  std::string name;
  std::array<double, 8> ticks{};  // user nice system idle iowait irq softirq steal
  in >> name;
  for (double& value : ticks) in >> value;
  if (!in || name != "cpu") return;
  const auto per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  counters.cpu_busy_s = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / per_second;
  counters.cpu_iowait_s = ticks[4] / per_second;
}

void read_memory(NodeCounters& counters) {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    std::int64_t kib = 0;
    if (words >> name >> kib && name == "Cached:") counters.page_cache_bytes = kib * 1024;
  }
}

// Whole disks that a device stands behind: neither partitions nor what is made of other disks is counted twice.
void read_disks(NodeCounters& counters) {
  std::ifstream in("/proc/diskstats");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string major, minor, name;
    std::array<std::int64_t, 10> fields{};
    words >> major >> minor >> name;
    for (auto& value : fields) words >> value;
    std::error_code ignored;
    if (!words || !std::filesystem::exists("/sys/block/" + name + "/device", ignored)) continue;
    counters.disk_reads += fields[0];
    counters.disk_read_bytes += fields[2] * kSectorBytes;
    counters.disk_written_bytes += fields[6] * kSectorBytes;
    counters.disk_busy_s += 1e-3 * static_cast<double>(fields[9]);
  }
}

void read_network(NodeCounters& counters) {
  std::ifstream in("/proc/net/dev");
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(':');
    if (colon == line.npos) continue;  // the two lines of headings
    std::istringstream words(line.substr(0, colon) + " " + line.substr(colon + 1));
    std::string name;
    std::array<std::int64_t, 9> fields{};  // eight received, then sent
    words >> name;
    for (auto& value : fields) words >> value;
    if (!words || name == "lo") continue;
    counters.network_received_bytes += fields[0];
    counters.network_sent_bytes += fields[8];
  }
}

}  // namespace

SystemCounters read_system_counters() {
  SystemCounters counters;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    counters.cpu_user_s = seconds(usage.ru_utime);
    counters.cpu_system_s = seconds(usage.ru_stime);
    counters.peak_rss_bytes = std::int64_t{usage.ru_maxrss} * 1024;
    counters.major_faults = usage.ru_majflt;
    counters.involuntary_switches = usage.ru_nivcsw;
  }
  std::ifstream io("/proc/self/io");  // some systems hide it: the counters stay 0
  std::string name;
  for (std::int64_t value; io >> name >> value;) {
    if (name == "read_bytes:") counters.read_bytes = value;
    if (name == "write_bytes:") counters.written_bytes = value;
  }
  return counters;
}

NodeCounters read_node_counters() {
  NodeCounters counters;
  read_processors(counters);
  read_memory(counters);
  read_disks(counters);
  read_network(counters);
  return counters;
}

}  // namespace brigade::telemetry
