#include "brigade/communication/reducer.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "world.hpp"

namespace brigade::communication {
namespace {

TEST(GradientReducer, SumsEveryBucketOfEveryStep) {
  const auto ranks = static_cast<float>(world().size());
  for (const auto algorithm : {Algorithm::ring, Algorithm::mpi}) {
    GradientReducer reducer(world(), {.algorithm = algorithm, .segment_bytes = 512});
    std::size_t bytes_after_first = 0;
    for (int step = 0; step < 3; ++step) {
      std::vector<std::vector<float>> buckets;
      for (const std::size_t count : {1000U, 0U, 3U, 7777U}) {
        buckets.emplace_back(count);
        std::iota(buckets.back().begin(), buckets.back().end(), static_cast<float>(world().rank() + step));
      }
      for (auto& bucket : buckets) {
        reducer.add(bucket);
        reducer.progress();
      }
      reducer.finish("gradients");
      const float offsets = ranks * (ranks - 1) / 2 + ranks * static_cast<float>(step);  // sum of rank + step
      for (const auto& bucket : buckets)
        for (std::size_t i = 0; i < bucket.size(); ++i)
          ASSERT_EQ(bucket[i], ranks * static_cast<float>(i) + offsets) << "step " << step << ", element " << i;
      if (step == 0) bytes_after_first = reducer.bytes_sent();
    }
    EXPECT_EQ(reducer.bytes_sent(), 3 * bytes_after_first);
    EXPECT_EQ(reducer.bytes_sent() > 0, world().size() > 1);
  }
}

TEST(GradientReducer, HasNothingToFinishWithoutBuckets) {
  GradientReducer reducer(world());
  reducer.progress();
  reducer.finish("nothing");
  EXPECT_EQ(reducer.bytes_sent(), 0U);
}

}  // namespace
}  // namespace brigade::communication
