/// What the kernel counts: of this process, and of the whole node.
#pragma once

#include <cstdint>

namespace brigade::telemetry {

/// Counters of this process since it was started (from getrusage and /proc/self/io); 0 where they are hidden.
struct SystemCounters {
  double cpu_user_s = 0, cpu_system_s = 0;
  std::int64_t peak_rss_bytes = 0;
  std::int64_t read_bytes = 0;     ///< from storage (/proc/self/io)
  std::int64_t written_bytes = 0;  ///< to storage
  std::int64_t major_faults = 0, involuntary_switches = 0;
};
SystemCounters read_system_counters();

/// Counters of the node since it was booted (from /proc/stat, meminfo, diskstats and net/dev), whoever caused them; 0
/// where they are hidden. Network file systems show in the network, not in the disks.
struct NodeCounters {
  double cpu_busy_s = 0, cpu_iowait_s = 0;  ///< summed over processors
  std::int64_t page_cache_bytes = 0;        ///< now
  std::int64_t disk_read_bytes = 0, disk_reads = 0, disk_written_bytes = 0;
  double disk_busy_s = 0;                                           ///< summed over disks
  std::int64_t network_received_bytes = 0, network_sent_bytes = 0;  ///< all interfaces but loopback
};
NodeCounters read_node_counters();

}  // namespace brigade::telemetry
