#include "brigade/telemetry/system_counters.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

namespace brigade::telemetry {
namespace {

TEST(SystemCounters, ProcessorTimeAndMemoryGrow) {
  const auto before = read_system_counters();
  std::vector<char> memory(std::size_t{64} << 20, 1);  // touched
  volatile std::uint64_t sum = 0;
  while (read_system_counters().cpu_user_s - before.cpu_user_s < 0.02) {
    for (int i = 0; i < 100000; ++i) sum = sum + static_cast<std::uint64_t>(memory[static_cast<std::size_t>(i)]);
  }
  const auto after = read_system_counters();
  EXPECT_GE(after.cpu_user_s, before.cpu_user_s + 0.02);
  EXPECT_GE(after.peak_rss_bytes, std::int64_t{64} << 20);
  EXPECT_GE(after.read_bytes, before.read_bytes);
}

TEST(SystemCounters, TheNodeIsBusyAndCaches) {
  const auto node = read_node_counters();
  EXPECT_GT(node.cpu_busy_s, 0);
  EXPECT_GT(node.page_cache_bytes, 0);
  EXPECT_LT(node.page_cache_bytes, ::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGESIZE));
  const auto later = read_node_counters();
  EXPECT_GE(later.cpu_busy_s, node.cpu_busy_s);
  EXPECT_GE(later.disk_read_bytes, node.disk_read_bytes);
  EXPECT_GE(later.network_received_bytes, node.network_received_bytes);
  EXPECT_EQ(node.disk_read_bytes % 512, 0);
}

}  // namespace
}  // namespace brigade::telemetry
