#include "brigade/communication/reducer.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include "brigade/core/memory.hpp"
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
        reducer.advance();
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

// Also of a sum that others, or the advance() of another sum, have completed: within a node all count at their end.
TEST(GradientReducer, CountsTheBytesOfEverySum) {
  if (world().size() == 1 || world().node_size() < world().size()) GTEST_SKIP() << "needs several ranks, on one node";
  constexpr std::size_t kBuckets = 5, kFloats = 30'000;
  const Buffer shared(world().array_memory(), kBuckets * kFloats * sizeof(float));
  std::vector<float> own(kBuckets * kFloats);
  for (const std::span<float> arrays : {std::span(shared.as<float>(), own.size()), std::span(own)})
    for (int step = 0; step < 20; ++step) {
      GradientReducer reducer(world());
      for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) reducer.add(arrays.subspan(bucket * kFloats, kFloats));
      reducer.finish("gradients");
      ASSERT_EQ(reducer.bytes_sent(), arrays.size_bytes()) << "step " << step;
    }
}

// The last rank comes to the sum three times, each time for the few segments that fit into the window at once: longer
// than the others' patience altogether, but they see it move.
TEST(GradientReducer, IsPatientWithASumThatMoves) {
  if (world().size() == 1 || world().node_size() < world().size()) GTEST_SKIP() << "needs several ranks, on one node";
  Communicator impatient = Communicator::world(1.5);
  std::vector<float> gradients(100'000, 1.0F);
  GradientReducer reducer(impatient, {.segment_bytes = 1024});
  reducer.add(gradients);
  if (world().rank() == world().size() - 1)
    for (int times = 0; times < 3; ++times) {
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
      EXPECT_TRUE(reducer.advance());
    }
  reducer.finish("gradients");
  EXPECT_EQ(gradients, std::vector<float>(gradients.size(), static_cast<float>(world().size())));
}

TEST(GradientReducer, HasNothingToFinishWithoutBuckets) {
  GradientReducer reducer(world());
  EXPECT_FALSE(reducer.advance());
  reducer.finish("nothing");
  EXPECT_EQ(reducer.bytes_sent(), 0U);
}

}  // namespace
}  // namespace brigade::communication
