#include "brigade/core/processors.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <thread>

namespace brigade {
namespace {

std::vector<int> mask_of_this_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  std::vector<int> processors;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  return processors;
}

TEST(Processors, AreThoseThatTheLauncherGave) {
  EXPECT_EQ(allowed_processors(), mask_of_this_thread());
  EXPECT_TRUE(std::ranges::is_sorted(allowed_processors()));
}

TEST(Processors, OfAThreadAreInheritedUntilItIsUnpinned) {
  const std::vector<int> all = allowed_processors();
  std::thread([&] {
    pin_this_thread(all.back());
    EXPECT_EQ(mask_of_this_thread(), std::vector{all.back()});
    std::thread([&] {
      EXPECT_EQ(mask_of_this_thread(), std::vector{all.back()});
      unpin_this_thread();
      EXPECT_EQ(mask_of_this_thread(), all);
    }).join();
    EXPECT_EQ(mask_of_this_thread(), std::vector{all.back()});
    EXPECT_EQ(allowed_processors(), all) << "of the process, not of a pinned thread";
  }).join();
}

}  // namespace
}  // namespace brigade
