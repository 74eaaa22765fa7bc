#include "brigade/core/checksum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "brigade/core/prefetch.hpp"

namespace brigade {
namespace {

std::vector<std::uint8_t> filled(std::uint8_t value) { return std::vector<std::uint8_t>(32, value); }
std::vector<std::uint8_t> counting() {
  std::vector<std::uint8_t> bytes(32);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  return bytes;
}
std::uint32_t checksum(const std::vector<std::uint8_t>& bytes, std::uint32_t seed = 0) {
  return crc32c(std::as_bytes(std::span(bytes)), seed);
}

// RFC 3720 (iSCSI), appendix B.4; its bytes are in the order of transmission, here they are numbers.
TEST(Crc32c, KnownAnswers) {
  auto backwards = counting();
  std::reverse(backwards.begin(), backwards.end());
  const std::vector<std::uint8_t> read_command = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                                  0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                                  0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
  EXPECT_EQ(checksum(filled(0x00)), 0x8A9136AAU);
  EXPECT_EQ(checksum(filled(0xFF)), 0x62A8AB43U);
  EXPECT_EQ(checksum(counting()), 0x46DD794EU);
  EXPECT_EQ(checksum(backwards), 0x113FDB5CU);
  EXPECT_EQ(checksum(read_command), 0xD9963A56U);
  EXPECT_EQ(checksum({'1', '2', '3', '4', '5', '6', '7', '8', '9'}), 0xE3069283U);
  EXPECT_EQ(checksum({}), 0U);
}

// The definition, a bit at a time: every length and alignment must take the same path through the polynomial.
TEST(Crc32c, IsTheBitwiseDefinitionAtEveryLengthAndOffset) {
  std::vector<std::uint8_t> bytes(100);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i * 37 + 11);
  for (std::size_t offset = 0; offset < 9; ++offset)
    for (std::size_t length = 0; offset + length <= bytes.size(); ++length) {
      std::uint32_t expected = 0xFFFFFFFF;
      for (std::size_t i = offset; i < offset + length; ++i) {
        expected ^= bytes[i];
        for (int bit = 0; bit < 8; ++bit) expected = (expected >> 1) ^ (expected & 1U ? 0x82F63B78U : 0U);
      }
      ASSERT_EQ(crc32c(std::as_bytes(std::span(bytes).subspan(offset, length))), ~expected) << offset << " " << length;
    }
}

// Long enough for stripes, which are joined: a whole is what its parts are, however it is cut.
TEST(Crc32c, LongRunsAreTheirPartsOneAfterAnother) {
  std::vector<std::uint8_t> bytes(5000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i * 41 + i / 7);
  const auto all = std::as_bytes(std::span(bytes));
  for (const std::size_t length : {767U, 768U, 769U, 1535U, 1536U, 1543U, 2304U, 4999U, 5000U})
    for (const std::size_t offset : {0U, 1U, 5U}) {
      const auto part = all.subspan(offset, std::min(length, bytes.size() - offset));
      std::uint32_t pieces = 0;
      for (std::size_t i = 0; i < part.size(); i += 61)
        pieces = crc32c(part.subspan(i, std::min<std::size_t>(61, part.size() - i)), pieces);
      ASSERT_EQ(crc32c(part), pieces) << offset << " " << length;
    }
  const std::string zeros(768, '\0');  // stripes of nothing but zeros still shift what came before
  EXPECT_NE(crc32c(std::as_bytes(std::span(zeros)), 1), crc32c(std::as_bytes(std::span(zeros)), 2));
}

// Around every size at which another loop takes over, at any alignment; and nothing else is written.
TEST(Crc32c, CopiesWhatItChecks) {
  std::vector<std::uint8_t> bytes(13000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i * 43 + i / 5);
  for (const std::size_t length : {0U, 1U, 63U, 255U, 256U, 257U, 319U, 320U, 511U, 512U, 575U, 768U, 4095U, 12288U})
    for (const std::size_t offset : {0U, 1U, 17U, 64U}) {
      const auto part = std::as_bytes(std::span(bytes)).subspan(offset, length);
      std::vector<std::uint8_t> copy(length + 2, 0xA5);
      const auto target = std::as_writable_bytes(std::span(copy)).subspan(1, length);
      std::uint32_t pieces = 7;
      for (std::size_t i = 0; i < length; ++i) pieces = crc32c(part.subspan(i, 1), pieces);
      const auto next = std::as_bytes(std::span(bytes)).last(100);  // what comes next changes nothing
      for (const auto then : {std::span<const std::byte>(), next}) {
        std::fill(copy.begin(), copy.end(), 0xA5);
        ASSERT_EQ(copy_and_crc32c(target, part, 7, then), pieces) << offset << " " << length;
        ASSERT_EQ(crc32c(part, 7, then), pieces) << offset << " " << length;
        ASSERT_TRUE(std::equal(part.begin(), part.end(), target.begin())) << offset << " " << length;
        std::fill(copy.begin(), copy.end(), 0xA5);
        copy_ahead(target, part, then);
        ASSERT_TRUE(std::equal(part.begin(), part.end(), target.begin())) << offset << " " << length;
        ASSERT_EQ(copy.front(), 0xA5);
        ASSERT_EQ(copy.back(), 0xA5);
      }
    }
}

TEST(Crc32c, ContinuesFromASeed) {
  const auto bytes = counting();
  for (std::size_t split = 0; split <= bytes.size(); ++split) {
    const auto middle = bytes.begin() + static_cast<std::ptrdiff_t>(split);
    EXPECT_EQ(checksum({middle, bytes.end()}, checksum({bytes.begin(), middle})), 0x46DD794EU) << split;
  }
}

TEST(Crc32c, SeesEveryFlippedBit) {
  auto bytes = counting();
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_NE(checksum(bytes), 0x46DD794EU) << bit;
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
}

}  // namespace
}  // namespace brigade
