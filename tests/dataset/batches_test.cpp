#include "brigade/dataset/batches.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

using Indices = std::vector<std::int64_t>;

Indices call(const BatchPlan& plan, std::int64_t k) {
  Indices indices{-1};
  if (!plan(k, indices)) indices.clear();
  return indices;
}

// The share of `rank` in a global batch made of `micro_batches` micro-batches, as training divides it.
Range share_of(std::int64_t global_batch, std::int64_t micro_batches, std::int64_t rank, std::int64_t ranks) {
  const Range micro = part_of(micro_batches, rank, ranks);
  const std::int64_t size = global_batch / micro_batches;
  return {micro.begin * size, micro.end * size};
}

TEST(TrainingPlan, EverySampleOncePerEpochAndTheSameBatchForAnyRankCount) {
  constexpr std::int64_t kSamples = 1003, kBatch = 48, kSteps = kSamples / kBatch;
  const auto alone = training_plan(kSamples, kBatch, {0, kBatch}, 5);
  for (const std::int64_t ranks : {1, 2, 3, 4}) {
    std::vector<BatchPlan> plans;
    for (std::int64_t rank = 0; rank < ranks; ++rank)
      plans.push_back(training_plan(kSamples, kBatch, share_of(kBatch, 8, rank, ranks), 5));
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      std::set<std::int64_t> seen;
      for (std::int64_t k = epoch * kSteps; k < (epoch + 1) * kSteps; ++k) {
        Indices joined;
        for (const auto& plan : plans) {
          const auto part = call(plan, k);
          joined.insert(joined.end(), part.begin(), part.end());
        }
        ASSERT_EQ(joined, call(alone, k)) << ranks << " ranks, batch " << k;
        seen.insert(joined.begin(), joined.end());
      }
      EXPECT_EQ(seen.size(), static_cast<std::size_t>(kSteps * kBatch));
      EXPECT_GE(*seen.begin(), 0);
      EXPECT_LT(*seen.rbegin(), kSamples);
    }
  }
}

TEST(TrainingPlan, EpochsDifferAndAnyBatchCanComeFirst) {
  const auto plan = training_plan(100, 100, {0, 100}, 1);
  const auto first = call(plan, 0), second = call(plan, 1);
  EXPECT_NE(first, second);
  EXPECT_EQ(call(plan, 0), first);
  EXPECT_EQ(call(training_plan(100, 100, {0, 100}, 1), 1), second);  // resumed
  EXPECT_NE(call(training_plan(100, 100, {0, 100}, 2), 0), first);
}

TEST(TrainingPlan, RejectsABatchLargerThanTheSplit) {
  EXPECT_HAS(message_of<OptionError>([] { training_plan(100, 101, {0, 101}, 1); }), "101");
  EXPECT_THROW(training_plan(100, 0, {0, 0}, 1), OptionError);
}

TEST(EvaluationPlan, ExactlyAllInOrder) {
  for (const std::int64_t ranks : {1, 2, 3, 4})
    for (const std::int64_t samples : {0, 1, 3, 64, 103}) {
      Indices joined;
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const auto plan = evaluation_plan(part_of(samples, rank, ranks), 10);
        for (std::int64_t k = 0;; ++k) {
          const auto batch = call(plan, k);
          if (batch.empty()) break;
          EXPECT_LE(batch.size(), 10U);
          joined.insert(joined.end(), batch.begin(), batch.end());
        }
      }
      Indices all(static_cast<std::size_t>(samples));
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(joined, all) << samples << " samples, " << ranks << " ranks";
    }
}

constexpr std::array<float, 3> kMean{0.1F, 0.5F, 0.7F}, kDeviation{0.2F, 0.3F, 0.9F};

class Stream : public ::testing::TestWithParam<int> {
 protected:
  std::unique_ptr<SplitReader> open(const ImageShape& image) {
    manifest_ = ingest(synthetic(70, 0, image), directory_.path(), 16);
    return open_split(directory_.path(), manifest_, "train");
  }
  StreamOptions options(std::int64_t first = 0) const {
    return {.prefetch = GetParam(), .first = first, .mean = kMean, .stddev = kDeviation};
  }
  TemporaryDirectory directory_;
  Manifest manifest_;
};

TEST_P(Stream, GivesNormalisedSamplesInTheOrderOfThePlan) {
  for (const ImageShape image : {ImageShape{3, 5, 3}, ImageShape{4, 4, 1}, ImageShape{9, 7, 3}, ImageShape{1, 1, 1}}) {
    auto reader = open(image);
    const SplitReader& names = *reader;
    BatchStream stream(std::move(reader), evaluation_plan({0, 70}, 16), options());
    std::int64_t index = 0, number = 0;
    while (const Batch* batch = stream.next()) {
      EXPECT_EQ(batch->number, number++);
      ASSERT_EQ(batch->images.size(), batch->labels.size() * static_cast<std::size_t>(image.size()));
      const float* out = batch->images.data();
      for (std::size_t i = 0; i < batch->labels.size(); ++i, ++index) {
        EXPECT_EQ(batch->indices[i], index);
        const std::int64_t original = std::stoll(names.name(index).substr(5));
        EXPECT_EQ(batch->labels[i], original % 5);
        for (std::int64_t p = 0; p < image.size(); ++p) {
          const auto c = static_cast<std::size_t>(p % image.channels);
          ASSERT_NEAR(*out++, (pixel(original, p) / 255.0 - kMean[c]) / kDeviation[c], 2e-6);
        }
      }
    }
    EXPECT_EQ(index, 70);
    EXPECT_EQ(number, 5);
    EXPECT_EQ(stream.next(), nullptr);
  }
}

TEST_P(Stream, ResumesAtAnyBatch) {
  constexpr std::int64_t kFirst = 9;  // in the third epoch of 4 steps
  BatchStream stream(open({4, 4, 1}), training_plan(70, 16, {4, 12}, 3), options(kFirst));
  const auto plan = training_plan(70, 16, {4, 12}, 3);
  for (std::int64_t k = kFirst; k < kFirst + 12; ++k) {
    const Batch* batch = stream.next();
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(batch->number, k);
    EXPECT_EQ(Indices(batch->indices.begin(), batch->indices.end()), call(plan, k));
  }
}

TEST_P(Stream, CarriesWhatWentWrongAfterTheGoodBatches) {
  const auto plan = [](std::int64_t k, Indices& indices) {
    indices = {k == 3 ? 1000 : k};
    return true;
  };
  BatchStream stream(open({4, 4, 1}), plan, options());
  for (std::int64_t k = 0; k < 3; ++k) {
    const Batch* batch = stream.next();
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(batch->indices[0], k);
  }
  for (int again = 0; again < 2; ++again)
    EXPECT_HAS(message_of<DataError>([&] { stream.next(); }), "there is no sample 1000");
}

TEST_P(Stream, EndsWhileBatchesAreWaiting) {
  for (const int taken : {0, 1, 5}) {
    BatchStream stream(open({4, 4, 1}), training_plan(70, 16, {0, 16}, 1), options());
    for (int k = 0; k < taken; ++k) ASSERT_NE(stream.next(), nullptr);
  }
}

INSTANTIATE_TEST_SUITE_P(ReadAhead, Stream, ::testing::Values(0, 1, 2, 3, 16));

TEST(StreamLimits, ReadsAheadNoFurtherThanAsked) {
  const TemporaryDirectory directory;
  const auto manifest = ingest(synthetic(70, 0, {4, 4, 1}), directory.path(), 16);
  std::atomic<std::int64_t> asked = 0;
  const auto plan = [&](std::int64_t k, Indices& indices) {
    indices = {k};
    asked = k + 1;
    return true;
  };
  BatchStream stream(open_split(directory.path(), manifest, "train"), plan, {.prefetch = 3});
  const auto wait_for = [&](std::int64_t count) {
    for (int i = 0; i < 2000 && asked < count; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return asked.load();
  };
  EXPECT_EQ(wait_for(3), 3);
  const Batch* batch = stream.next();
  EXPECT_EQ(wait_for(4), 4);  // one is held here, three are ahead
  EXPECT_EQ(batch->indices[0], 0);
  stream.next();
  EXPECT_EQ(wait_for(5), 5);
}

TEST(StreamLimits, RejectsANegativePrefetch) {
  const TemporaryDirectory directory;
  const auto manifest = ingest(synthetic(7, 0), directory.path(), 16);
  EXPECT_THROW(
      BatchStream(open_split(directory.path(), manifest, "train"), evaluation_plan({0, 7}, 2), {.prefetch = -1}),
      OptionError);
}

}  // namespace
}  // namespace brigade::dataset::testing
