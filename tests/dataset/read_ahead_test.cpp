// What storage is asked for, and when asking ends.
#include "../src/dataset/read_ahead.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>
#include <vector>

namespace brigade::dataset::testing {
namespace {

using Pairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

Pairs pairs(std::span<const Range> ranges) {
  Pairs pairs;
  for (const Range range : ranges) pairs.emplace_back(range.begin, range.end);
  return pairs;
}

std::vector<std::int64_t> neighbours(std::int64_t begin, std::int64_t count) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(count));
  std::iota(indices.begin(), indices.end(), begin);
  return indices;
}

Pairs step(Walk& walk, std::int64_t begin, std::int64_t end, std::int64_t most) {
  std::vector<Range> soon;
  walk.step({begin, end}, most, soon);
  return pairs(soon);
}

TEST(Walk, ForeseesBatchesAfterTwoEqualSteps) {
  Walk walk;
  EXPECT_EQ(step(walk, 0, 10, 30), Pairs());
  EXPECT_EQ(step(walk, 10, 20, 30), Pairs());
  EXPECT_FALSE(walk.foreseen({20, 30}));
  EXPECT_EQ(step(walk, 20, 30, 30), (Pairs{{30, 40}, {40, 50}, {50, 60}}));
  EXPECT_TRUE(walk.foreseen({30, 40}));
  EXPECT_EQ(step(walk, 30, 40, 30), (Pairs{{60, 70}}));  // the others have been asked for
}

TEST(Walk, ARankForeseesItsOwnPartOfEachBatch) {
  Walk walk;
  EXPECT_EQ(step(walk, 4, 8, 8), Pairs());
  EXPECT_EQ(step(walk, 16, 20, 8), Pairs());
  EXPECT_EQ(step(walk, 28, 32, 8), (Pairs{{40, 44}, {52, 56}}));
}

TEST(Walk, AJumpIsNotForeseen) {
  Walk walk;
  for (const std::int64_t begin : {0, 5, 10}) step(walk, begin, begin + 5, 10);
  EXPECT_TRUE(walk.foreseen({15, 20}));
  EXPECT_FALSE(walk.foreseen({0, 5}));
  EXPECT_EQ(step(walk, 0, 5, 10), Pairs());  // from the front again
  EXPECT_EQ(step(walk, 5, 10, 10), Pairs());
  EXPECT_EQ(step(walk, 10, 15, 10), (Pairs{{15, 20}, {20, 25}}));
}

TEST(ReadAhead, AskingEndsWhenStorageIsNotRead) {
  constexpr int kPatience = ReadAhead::kPatience;
  ReadAhead ahead(1000, 1, 1 << 20);
  const std::vector<std::int64_t> batch{7, 900, 3};
  const Pairs all{{7, 8}, {900, 901}, {3, 4}};
  EXPECT_EQ(pairs(ahead.before(batch, 50)), all);      // nothing is known yet
  EXPECT_EQ(pairs(ahead.before(batch, 50)), Pairs());  // all was in memory
  EXPECT_EQ(pairs(ahead.before(batch, 51)), all);      // this batch was waited for
  for (int i = 1; i < kPatience; ++i) EXPECT_EQ(pairs(ahead.before(batch, 51)), all) << i;
  EXPECT_EQ(pairs(ahead.before(batch, 51)), Pairs());
  EXPECT_EQ(pairs(ahead.before(batch, 60)), all);
}

TEST(ReadAhead, AsksForWholeGroupsWithinTheSplit) {
  ReadAhead ahead(10, 4, 100);
  EXPECT_EQ(pairs(ahead.before(std::vector<std::int64_t>{5, 9}, 0)), (Pairs{{4, 8}, {8, 10}}));
}

TEST(ReadAhead, EachBatchInOrderIsAskedForOnce) {
  ReadAhead ahead(100, 1, 4 << 20);  // two samples ahead, and thus one batch
  std::vector<int> asked(100);
  for (std::int64_t begin = 0; begin < 100; begin += 5) {
    for (const Range range : ahead.before(neighbours(begin, 5), begin))
      for (std::int64_t i = range.begin; i < range.end; ++i) ++asked[static_cast<std::size_t>(i)];
    for (std::int64_t i = begin; i < begin + 5; ++i) EXPECT_EQ(asked[static_cast<std::size_t>(i)], 1) << i;
  }
  EXPECT_EQ(asked, std::vector<int>(100, 1));
}

}  // namespace
}  // namespace brigade::dataset::testing
