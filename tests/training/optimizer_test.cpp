#include "brigade/training/optimizer.hpp"

#include <gtest/gtest.h>

namespace brigade::training {
namespace {

TEST(LearningRate, RisesLinearlyThenFollowsTheCosine) {
  const OptimizerOptions options{.learning_rate = 0.4F, .schedule = ScheduleKind::cosine, .warmup_steps = 4};
  EXPECT_FLOAT_EQ(learning_rate(options, 0, 104), 0.1F);
  EXPECT_FLOAT_EQ(learning_rate(options, 3, 104), 0.4F);
  EXPECT_FLOAT_EQ(learning_rate(options, 4, 104), 0.4F);
  EXPECT_FLOAT_EQ(learning_rate(options, 54, 104), 0.2F);
  EXPECT_NEAR(learning_rate(options, 104, 104), 0, 1e-9);
}

TEST(LearningRate, ConstantIsConstant) {
  const OptimizerOptions options{.learning_rate = 0.3F};
  for (const std::int64_t step : {0, 1, 99}) EXPECT_FLOAT_EQ(learning_rate(options, step, 100), 0.3F);
}

}  // namespace
}  // namespace brigade::training
