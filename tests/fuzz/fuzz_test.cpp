// The seeds of the fuzzers, and mutations of them, without a fuzzer: a fixed number, the same ones each time.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "brigade/core/random.hpp"
#include "fuzz/formats.hpp"

// No input of some kilobytes may make a reader ask for more than this at once (an image of kMostPixels is 192 MiB).
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=1024"; }

namespace brigade::dataset::fuzz {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kMutations = 1500;  // of each seed

std::vector<fs::path> seeds_of(const Format& format) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(BRIGADE_SOURCE_DIR) / "tests/fuzz/seeds" / format.name))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

Bytes file_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Changes in one to four places: a bit, a byte, a number that is large or negative, a piece lost or repeated, an end.
Bytes mutate(Bytes bytes, std::uint64_t seed) {
  std::uint64_t drawn = 0;
  const auto below = [&](std::size_t count) {
    return count == 0 ? std::size_t{0} : random_u32({.seed = seed}, drawn++) % count;
  };
  for (std::size_t change = 1 + below(4); change > 0 && !bytes.empty(); --change) {
    const std::size_t at = below(bytes.size()), left = bytes.size() - at,
                      count = std::min<std::size_t>(left, 1 + below(16));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at),
               end = begin + static_cast<std::ptrdiff_t>(count);
    switch (below(6)) {
      case 0: bytes[at] ^= static_cast<std::uint8_t>(1U << below(8)); break;
      case 1: bytes[at] = static_cast<std::uint8_t>(below(256)); break;
      case 2:
        std::fill(begin, begin + static_cast<std::ptrdiff_t>(std::min<std::size_t>(left, 4)), below(2) * 255);
        break;
      case 3: bytes.erase(begin, end); break;
      case 4: {
        const Bytes piece(begin, end);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size())), piece.begin(), piece.end());
        break;
      }
      default: bytes.resize(at); break;
    }
  }
  return bytes;
}

// Also where no sanitizer counts: 1 GiB above what is taken already.
class Limited : public ::testing::TestWithParam<Format> {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
 protected:
  void SetUp() override {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    ASSERT_EQ(::getrlimit(RLIMIT_AS, &before_), 0);
    rlimit limited = before_;
    limited.rlim_cur = pages * 4096 + (std::size_t{1} << 30);
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &limited), 0);
  }
  void TearDown() override { ::setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
#endif
};

TEST_P(Limited, SeedsAreRead) {
  const auto seeds = seeds_of(GetParam());
  ASSERT_FALSE(seeds.empty());
  for (const auto& seed : seeds) EXPECT_TRUE(GetParam().read(file_bytes(seed))) << seed;
}

TEST_P(Limited, MutatedSeedsAreReadOrRefused) {
  std::uint64_t number = 0, refused = 0;
  for (const auto& seed : seeds_of(GetParam())) {
    const Bytes bytes = file_bytes(seed);
    for (std::uint64_t i = 0; i < kMutations; ++i, ++number)
      ASSERT_NO_THROW(refused += GetParam().read(mutate(bytes, number)) ? 0 : 1) << seed << ", mutation " << number;
  }
  EXPECT_GT(refused, number / 20);  // or nothing was mutated
}

INSTANTIATE_TEST_SUITE_P(Formats, Limited, ::testing::ValuesIn(formats()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace brigade::dataset::fuzz
