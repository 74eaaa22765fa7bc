#include "brigade/dataset/sampling.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/dataset/shuffle_quality.hpp"

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

std::vector<std::int64_t> all_of(const SampleOrder& order, std::int64_t samples) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < samples; ++i) values.push_back(order(i));
  return values;
}

// Sizes that blocks divide and that they do not; a single block; blocks of one sample.
TEST(SampleOrder, TakesEverySampleOnce) {
  for (const auto shuffle : {Shuffle::full, Shuffle::block, Shuffle::none})
    for (const std::int64_t samples : {1, 5, 63, 64, 65, 1000, 1024, 4999})
      for (const std::int64_t block : {1, 7, 64, 5000})
        for (std::uint32_t epoch = 0; epoch < 3; ++epoch) {
          auto values = all_of(SampleOrder(samples, 3, epoch, {.shuffle = shuffle, .block = block}), samples);
          std::ranges::sort(values);
          for (std::int64_t i = 0; i < samples; ++i)
            ASSERT_EQ(values[static_cast<std::size_t>(i)], i) << samples << " in blocks of " << block;
        }
}

TEST(SampleOrder, FullIsThePermutationAndNoneIsStorage) {
  const Permutation permutation(1000, 5, 2);
  const SampleOrder full(1000, 5, 2), none(1000, 5, 2, {.shuffle = Shuffle::none});
  for (std::int64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(full(i), permutation(i));
    EXPECT_EQ(none(i), i);
  }
}

// A window of 16 blocks touches 16 whole blocks, in an order that is not that of storage; epochs differ.
TEST(SampleOrder, BlocksComeTogetherAndAreMixed) {
  constexpr std::int64_t kBlock = 32, kWindow = kBlock * SampleOrder::kBlocksMixed, kSamples = 8 * kWindow;
  const OrderOptions options{.shuffle = Shuffle::block, .block = kBlock};
  const auto first = all_of(SampleOrder(kSamples, 1, 0, options), kSamples);
  const auto second = all_of(SampleOrder(kSamples, 1, 1, options), kSamples);
  EXPECT_NE(first, second);
  for (std::int64_t begin = 0; begin < kSamples; begin += kWindow) {
    std::vector<std::int64_t> blocks;
    std::int64_t in_order = 0;
    for (std::int64_t i = begin; i < begin + kWindow; ++i) {
      blocks.push_back(first[static_cast<std::size_t>(i)] / kBlock);
      if (i > begin && first[static_cast<std::size_t>(i)] == first[static_cast<std::size_t>(i) - 1] + 1) ++in_order;
    }
    std::ranges::sort(blocks);
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    EXPECT_EQ(blocks.size(), static_cast<std::size_t>(SampleOrder::kBlocksMixed));
    EXPECT_LT(in_order, 10);
  }
}

TEST(SampleOrder, RefusesAnEmptyBlock) {
  EXPECT_THROW(SampleOrder(10, 1, 0, {.shuffle = Shuffle::block, .block = 0}), OptionError);
}

// Sorted by class in storage: as stored, each batch holds one class, the worst there is; (10 - 1) x 100 is its
// chi-square. A true shuffle is at 1, and blocks of two batches in between.
TEST(ShuffleQuality, TellsOrdersApart) {
  constexpr std::int64_t kSamples = 10'000, kBatch = 100;
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < kSamples; ++i) labels.push_back(static_cast<std::int32_t>(i / 1000));
  const auto measure = [&](const OrderOptions& options) {
    return measure_shuffle(labels, kBatch, SampleOrder(kSamples, 1, 0, options));
  };
  const auto none = measure({.shuffle = Shuffle::none});
  EXPECT_NEAR(none.imbalance, 900 / (9.0 * 9900 / 9999), 1e-9);
  EXPECT_NEAR(none.neighbours, 1, 1e-12);
  EXPECT_NEAR(none.neighbour_distance, 3.0 / 10001, 1e-12);
  const auto full = measure({});
  EXPECT_NEAR(full.imbalance, 1, 0.15);
  EXPECT_LT(std::abs(full.imbalance_z), 4);
  EXPECT_NEAR(full.neighbour_distance, 1, 0.03);
  EXPECT_LT(full.neighbours, 0.001);
  const auto block = measure({.shuffle = Shuffle::block, .block = 200});
  EXPECT_GT(block.imbalance, 2);
  EXPECT_LT(block.imbalance, 20);
  EXPECT_THROW(measure_shuffle(labels, kSamples + 1, SampleOrder(kSamples, 1, 0)), OptionError);
}

}  // namespace
}  // namespace brigade::dataset
