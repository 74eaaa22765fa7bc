#include "brigade/core/fp16.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace brigade {
namespace {

// What 16 bits mean, by the definition of IEEE 754.
double meaning(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 != 0 ? -size : size;
}

TEST(Fp16, IsWhatItsBitsMean) {
  for (unsigned word = 0; word < 0x10000; ++word) {
    Fp16 number;
    number.bits = static_cast<std::uint16_t>(word);
    const auto value = static_cast<float>(number);
    const unsigned size = word & 0x7FFF;
    if (size > 0x7C00) {
      EXPECT_TRUE(std::isnan(value)) << word;
      EXPECT_TRUE(std::isnan(static_cast<float>(Fp16(value)))) << word;
      continue;
    }
    if (size == 0x7C00)
      EXPECT_EQ(value, word > size ? -INFINITY : INFINITY);
    else
      EXPECT_EQ(value, meaning(number.bits)) << word;
    EXPECT_EQ(Fp16(value).bits, word);
  }
}

// Between two neighbours the nearer is taken, in the middle the even one.
TEST(Fp16, RoundsToTheNearestAndTiesToEven) {
  for (std::uint16_t bits = 0; bits < 0x7BFF; ++bits) {
    const double low = meaning(bits), high = meaning(static_cast<std::uint16_t>(bits + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    EXPECT_EQ(Fp16(middle).bits, bits + bits % 2) << bits;
    EXPECT_EQ(Fp16(std::nextafter(middle, 0.0F)).bits, bits);
    EXPECT_EQ(Fp16(std::nextafter(middle, INFINITY)).bits, bits + 1);
    EXPECT_EQ(Fp16(-middle).bits, (bits + bits % 2) | 0x8000);
  }
}

TEST(Fp16, BecomesInfiniteFrom65520On) {
  EXPECT_EQ(static_cast<float>(Fp16(65519.99F)), 65504.0F);
  EXPECT_EQ(static_cast<float>(Fp16(65520.0F)), INFINITY);
  EXPECT_EQ(static_cast<float>(Fp16(-std::numeric_limits<float>::max())), -INFINITY);
  EXPECT_EQ(static_cast<float>(Fp16(0x1p-26F)), 0.0F);
}

}  // namespace
}  // namespace brigade
