// Kernels give the same bits for any number of threads: this binary, run again with other thread
// counts, must leave the same fingerprints of every result.
#include <gtest/gtest.h>

#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "brigade/core/error.hpp"

namespace brigade {
namespace {

// Lines "suite.test crc", in the order of the tests.
std::vector<std::string> fingerprints(int threads) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("brigade-bits-{}-{}", ::getpid(), threads);
  const std::string command = fmt::format(
      "BRIGADE_TEST_FINGERPRINTS='{}' BRIGADE_TEST_THREADS={} '{}' --gtest_filter='-SameBits.*:Oracle*' >/dev/null",
      path.string(), threads, std::filesystem::read_symlink("/proc/self/exe").string());
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  std::filesystem::remove(path);
  return lines;
}

TEST(SameBits, AnyNumberOfThreads) {
  const auto expected = fingerprints(1);
  EXPECT_FALSE(expected.empty());
  for (const int threads : {2, 3}) {
    const auto actual = fingerprints(threads);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(actual[i], expected[i]) << threads << " threads";
  }
}

}  // namespace
}  // namespace brigade
