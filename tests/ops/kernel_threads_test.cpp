// The kernels' threads as other rooms use them.
#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "brigade/host/backend.hpp"

namespace brigade {
namespace {

TEST(KernelThreads, EachDoesItsShareAtTheSameTime) {
  Threads& threads = host::kernel_threads();
  ASSERT_EQ(threads.count(), host::make_backend()->threads());
  std::vector<std::thread::id> ids(static_cast<std::size_t>(threads.count()));
  threads.each([&](int t) { ids[static_cast<std::size_t>(t)] = std::this_thread::get_id(); });
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), ids.size());
  EXPECT_EQ(ids.front(), std::this_thread::get_id());
}

}  // namespace
}  // namespace brigade
