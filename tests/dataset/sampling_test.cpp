#include "brigade/dataset/sampling.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace brigade::dataset {
namespace {

std::vector<std::int64_t> all_of(const Permutation& order) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < order.size(); ++i) values.push_back(order(i));
  return values;
}

bool is_bijection(const Permutation& order) {
  std::vector<bool> hit(static_cast<std::size_t>(order.size()));
  for (std::int64_t i = 0; i < order.size(); ++i) {
    const std::int64_t value = order(i);
    if (value < 0 || value >= order.size() || hit[static_cast<std::size_t>(value)]) return false;
    hit[static_cast<std::size_t>(value)] = true;
  }
  return true;
}

TEST(Permutation, IsABijectionOfEverySize) {
  for (std::int64_t size = 1; size <= 300; ++size)
    for (std::uint32_t stream = 0; stream < 5; ++stream)
      ASSERT_TRUE(is_bijection(Permutation(size, 7, stream))) << size << " " << stream;
  for (const std::int64_t size : {4095L, 4096L, 4097L, 60000L, 65536L, 1000003L, 3000000L})
    ASSERT_TRUE(is_bijection(Permutation(size, 1, 2))) << size;
}

TEST(Permutation, NeverRepeatsInAHugeDomain) {
  for (const std::int64_t size : {(std::int64_t{1} << 40) + 1, (std::int64_t{1} << 62) - 5}) {
    const Permutation order(size, 3, 4);
    std::vector<std::int64_t> values;
    for (std::int64_t i = 0; i < 100000; ++i) values.push_back(order(size - 1 - i));
    std::sort(values.begin(), values.end());
    EXPECT_EQ(std::adjacent_find(values.begin(), values.end()), values.end());
    EXPECT_GE(values.front(), 0);
    EXPECT_LT(values.back(), size);
    EXPECT_LT(values.front(), size / 1000);
    EXPECT_GT(values.back(), size - size / 1000);
  }
}

TEST(Permutation, DependsOnSeedStreamAndPurpose) {
  const auto base = all_of(Permutation(1000, 1, 0));
  EXPECT_EQ(base, all_of(Permutation(1000, 1, 0)));
  for (const auto& other : {Permutation(1000, 2, 0), Permutation(1000, 1, 1), Permutation(1000, 1ULL << 32 | 1, 0),
                            Permutation(1000, 1, 0, Purpose::ingest_order)}) {
    const auto values = all_of(other);
    int same = 0;
    for (std::size_t i = 0; i < values.size(); ++i) same += values[i] == base[i] ? 1 : 0;
    EXPECT_LT(same, 12);  // one fixed point is expected
  }
}

// Over many keys every value is equally likely at every place: Pearson's chi-square over (place, value), whose mean
// is (size - 1)^2 and whose standard deviation is about sqrt(2) * (size - 1).
TEST(Permutation, EveryValueIsAsLikelyAtEveryPlace) {
  for (const std::int64_t size : {7, 16, 30}) {
    const auto n = static_cast<std::size_t>(size);
    constexpr int kKeys = 40000;
    std::vector<int> counts(n * n);
    for (std::uint32_t stream = 0; stream < kKeys; ++stream) {
      const Permutation order(size, 11, stream);
      for (std::size_t i = 0; i < n; ++i)
        ++counts[i * n + static_cast<std::size_t>(order(static_cast<std::int64_t>(i)))];
    }
    const double expected = static_cast<double>(kKeys) / static_cast<double>(size);
    double chi_square = 0;
    for (const int count : counts) chi_square += (count - expected) * (count - expected) / expected;
    const double freedom = static_cast<double>((size - 1) * (size - 1));
    EXPECT_NEAR(chi_square, freedom, 5 * std::sqrt(2 * freedom)) << size;
  }
}

// Neighbours must not stay neighbours: differences of consecutive values are spread like those of random pairs.
TEST(Permutation, NeighboursAreSpread) {
  const auto values = all_of(Permutation(60000, 5, 0));
  double product = 0;
  const double mean = (60000 - 1) / 2.0, variance = 60000.0 * 60000.0 / 12;
  for (std::size_t i = 1; i < values.size(); ++i)
    product += (static_cast<double>(values[i]) - mean) * (static_cast<double>(values[i - 1]) - mean);
  EXPECT_LT(std::abs(product / variance / 60000), 5 / std::sqrt(60000.0));
}

TEST(Range, PartsCoverEverythingOnce) {
  for (const std::int64_t total : {0, 1, 7, 10000})
    for (const std::int64_t count : {1, 2, 3, 4, 16}) {
      std::int64_t end = 0;
      for (std::int64_t part = 0; part < count; ++part) {
        const Range range = part_of(total, part, count);
        EXPECT_EQ(range.begin, end);
        EXPECT_LE(range.size(), total / count + 1);
        end = range.end;
      }
      EXPECT_EQ(end, total);
    }
}

}  // namespace
}  // namespace brigade::dataset
