#include "brigade/core/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace brigade {
namespace {

// Random123's tests/kat_vectors, philox 4x32, 10 rounds.
TEST(Philox, KnownAnswers) {
  struct Case {
    PhiloxBlock counter;
    std::array<std::uint32_t, 2> key;
    PhiloxBlock answer;
  };
  for (const auto& [counter, key, answer] :
       {Case{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        Case{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
             {0xffffffff, 0xffffffff},
             {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        Case{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
             {0xa4093822, 0x299f31d0},
             {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}})
    EXPECT_EQ(philox4x32(counter, key), answer);
}

TEST(Random, KeyAndCounterAreWhatTheHeaderSays) {
  const RandomKey key{.seed = 0x0123456789ABCDEF, .purpose = Purpose::dropout, .stream = 5, .position = 6};
  EXPECT_EQ(random_block(key, 0xA00000007),
            philox4x32({7, 0xA ^ 0x03000000, 5, 6}, {0x89ABCDEF, 0x01234567 ^ 0x03000000}));
  for (std::uint64_t i = 0; i < 8; ++i) EXPECT_EQ(random_u32(key, i), random_block(key, i / 4)[i % 4]);
}

TEST(Random, EveryPartOfTheKeyCounts) {
  const RandomKey key{.seed = 1};
  RandomKey seed = key, purpose = key, stream = key, position = key;
  seed.seed += 1ULL << 32;
  purpose.purpose = Purpose::split;
  stream.stream = 1;
  position.position = 1;
  std::set<PhiloxBlock> blocks;
  for (const auto& k : {key, seed, purpose, stream, position}) blocks.insert(random_block(k, 0));
  EXPECT_EQ(blocks.size(), 5U);
}

TEST(Random, UniformFillsTheUnitInterval) {
  EXPECT_EQ(to_uniform(0), 0.0F);
  EXPECT_EQ(to_uniform(0x80000000), 0.5F);
  EXPECT_EQ(to_uniform(0xFFFFFFFF), 1.0F - 0x1p-24F);
  constexpr int kDraws = 100'000;
  double sum = 0;
  for (std::uint64_t i = 0; i < kDraws; ++i) sum += to_uniform(random_u32({.seed = 3}, i));
  EXPECT_NEAR(sum / kDraws, 0.5, 4 / std::sqrt(12.0 * kDraws));
}

}  // namespace
}  // namespace brigade
