// Files that change while they are in use.
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>

#include "../src/dataset/mapped_file.hpp"
#include "../src/dataset/sources.hpp"
#include "../src/dataset/spool.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

constexpr std::size_t kPages = 40 * 4096;

// Reads the whole file after it has lost its second half.
void read_what_is_gone(const fs::path& path) {
  MappedFile moved(path);
  const MappedFile mapping = std::move(moved);
  fs::resize_file(path, kPages / 2);
  unsigned sum = 0;
  for (const std::byte byte : mapping.bytes()) sum += std::to_integer<unsigned>(byte);
  std::exit(sum == 0 ? 0 : 1);  // not reached
}

TEST(MappedFileDeathTest, AFileThatGotShorterIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryDirectory directory;
  const fs::path path = directory / "shrinks";
  write_bytes(path, Bytes(kPages));
  EXPECT_EXIT(read_what_is_gone(path), ::testing::ExitedWithCode(3), "shrinks cannot be read on");
}

// What is no mapping of a file keeps its meaning.
TEST(MappedFileDeathTest, OtherBusErrorsAreNotOurs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TemporaryDirectory directory;
  write_bytes(directory / "whole", Bytes(kPages));
  const MappedFile mapping(directory / "whole");
  EXPECT_EXIT(
      std::raise(SIGBUS), [](int status) { return !WIFEXITED(status) || WEXITSTATUS(status) != 3; }, "");
}

TEST(Spool, GivesBackWhatItTook) {
  std::uint8_t next = 0;
  constexpr std::uint64_t kBytes = (5 << 20) / 2;  // two pieces and a half
  const auto spool = unpacked(kBytes, [&](std::span<std::uint8_t> piece) {
    for (auto& byte : piece) byte = next = static_cast<std::uint8_t>(next * 5 + 1);
  });
  Bytes all(kBytes), part(1000);
  spool->read(0, std::span(all));
  std::uint8_t expected = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    ASSERT_EQ(all[i], expected = static_cast<std::uint8_t>(expected * 5 + 1)) << i;
  spool->read(kBytes - part.size(), std::span(part));
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.end() - static_cast<std::ptrdiff_t>(part.size())));
  EXPECT_HAS(message_of<WriteError>([&] { spool->read(kBytes - 1, std::span(part)); }), "cannot read");
}

// Sources are opened before a file loses its end.
TEST(Sources, AFileThatGotShorterIsAnError) {
  const TemporaryDirectory directory;
  const std::vector<std::uint32_t> images{6, 100, 100}, labels{6};
  write_bytes(directory / "train-images-idx3-ubyte", idx(images, Bytes(60000)));
  write_bytes(directory / "train-labels-idx1-ubyte", idx(labels, Bytes(6)));
  const auto source = open_idx(directory.path()).at("train");
  EXPECT_EQ(fetch(*source, 5).size(), 10000U);
  fs::resize_file(directory / "train-images-idx3-ubyte", 55000);
  EXPECT_EQ(fetch(*source, 4).size(), 10000U);
  EXPECT_HAS(message_of<SourceError>([&] { fetch(*source, 5); }), "is truncated or cannot be read");
}

}  // namespace
}  // namespace brigade::dataset::testing
