#include "statistics.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace brigade::benchmarks {
namespace {

TEST(Statistics, QuantilesAreLinearBetweenNeighbours) {
  const std::vector<double> values = {40, 10, 30, 20, 50};  // numpy.quantile agrees
  EXPECT_DOUBLE_EQ(quantile(values, 0), 10);
  EXPECT_DOUBLE_EQ(quantile(values, 0.5), 30);
  EXPECT_DOUBLE_EQ(quantile(values, 0.1), 14);
  EXPECT_DOUBLE_EQ(quantile(values, 0.9), 46);
  EXPECT_DOUBLE_EQ(quantile(values, 1), 50);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.9), 7);
  EXPECT_DOUBLE_EQ(quantile({1, 2}, 0.5), 1.5);
}

TEST(Statistics, QuantilesTogether) {
  const Quantiles q = quantiles({5, 1, 3, 2, 4});
  EXPECT_DOUBLE_EQ(q.min, 1);
  EXPECT_DOUBLE_EQ(q.p10, 1.4);
  EXPECT_DOUBLE_EQ(q.median, 3);
  EXPECT_DOUBLE_EQ(q.p90, 4.6);
  EXPECT_DOUBLE_EQ(q.p99, 4.96);
}

TEST(Statistics, GeometricMean) {
  EXPECT_NEAR(geometric_mean(std::vector<double>{1, 100}), 10, 1e-12);
  EXPECT_NEAR(geometric_mean(std::vector<double>{2, 2, 16}), 4, 1e-12);
  EXPECT_EQ(geometric_mean({}), 0);
}

}  // namespace
}  // namespace brigade::benchmarks
