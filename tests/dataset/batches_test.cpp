#include "brigade/dataset/batches.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "brigade/core/processors.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

using Indices = std::vector<std::int64_t>;

// The samples of batch k; empty: there is none.
Indices call(const BatchPlan& plan, std::int64_t k) {
  Selection selection{.indices = {-1}, .own = {}};
  if (!plan(k, selection)) return {};
  return {selection.indices.begin() + selection.own.begin, selection.indices.begin() + selection.own.end};
}

// The share of `rank` in a global batch made of `micro_batches` micro-batches, as training divides it.
Range share_of(std::int64_t global_batch, std::int64_t micro_batches, std::int64_t rank, std::int64_t ranks) {
  const Range micro = part_of(micro_batches, rank, ranks);
  const std::int64_t size = global_batch / micro_batches;
  return {micro.begin * size, micro.end * size};
}

// 70 samples in batches of 16: four whole ones, and six samples more.
TEST(TrainingPlan, TheLastBatchIsFilledWithTheFirstSamplesOfItsEpoch) {
  constexpr std::int64_t kSamples = 70, kBatch = 16, kSteps = 5;
  EXPECT_EQ(steps_per_epoch(kSamples, kBatch, Tail::fill), kSteps);
  EXPECT_EQ(steps_per_epoch(kSamples, kBatch, Tail::drop), kSteps - 1);
  EXPECT_EQ(steps_per_epoch(64, kBatch, Tail::fill), 4);
  for (const int ranks : {1, 2, 3}) {
    std::vector<BatchPlan> plans;
    for (int rank = 0; rank < ranks; ++rank)
      plans.push_back(training_plan(kSamples, kBatch, part_of(kBatch, rank, ranks), 5, false, {.tail = Tail::fill}));
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      const SampleOrder order(kSamples, 5, static_cast<std::uint32_t>(epoch));
      std::int64_t place = 0;
      for (std::int64_t step = 0; step < kSteps; ++step)
        for (const auto& plan : plans) {
          Selection selection;
          ASSERT_TRUE(plan(epoch * kSteps + step, selection));
          EXPECT_EQ(selection.epoch, epoch);
          for (const std::int64_t index : selection.indices) EXPECT_EQ(index, order(place++ % kSamples));
        }
      EXPECT_EQ(place, kSteps * kBatch);
    }
  }
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

using Readers = std::vector<std::unique_ptr<SplitReader>>;

struct Threads {
  int prefetch, readers;
};

class Stream : public ::testing::TestWithParam<Threads> {
 protected:
  Readers open(const ImageShape& image) {
    manifest_ = ingest(synthetic(70, 0, image), directory_.path(), 16);
    return open_again();
  }
  Readers open_again() const {
    Readers readers;
    for (int i = 0; i < GetParam().readers; ++i) readers.push_back(open_split(directory_.path(), manifest_, "train"));
    return readers;
  }
  StreamOptions options(std::int64_t first = 0) const {
    StreamOptions options;
    options.prefetch = GetParam().prefetch;
    options.first = first;
    options.mean = kMean;
    options.stddev = kDeviation;
    return options;
  }
  TemporaryDirectory directory_;
  Manifest manifest_;
};

TEST_P(Stream, GivesNormalisedSamplesInTheOrderOfThePlan) {
  for (const ImageShape image : {ImageShape{3, 5, 3}, ImageShape{4, 4, 1}, ImageShape{9, 7, 3}, ImageShape{1, 1, 1}}) {
    auto readers = open(image);
    const auto names = open_split(directory_.path(), manifest_, "train");
    BatchStream stream(std::move(readers), evaluation_plan({0, 70}, 16), options());
    std::int64_t index = 0, number = 0;
    while (const Batch* batch = stream.next()) {
      EXPECT_EQ(batch->number, number++);
      ASSERT_EQ(batch->images.size(), batch->labels.size() * static_cast<std::size_t>(image.size()));
      const float* out = batch->images.data();
      for (std::size_t i = 0; i < batch->labels.size(); ++i, ++index) {
        EXPECT_EQ(batch->indices[i], index);
        const std::int64_t original = std::stoll(names->name(index).substr(5));
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
  const auto plan = [](std::int64_t k, Selection& selection) {
    selection.indices = {k == 3 ? 1000 : k};
    selection.own = {0, 1};
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

// Pictures, mixed labels and shares of a batch.
struct Made {
  std::vector<float> images, share;
  std::vector<std::int32_t> labels, mixed;
  void add(const Batch& batch) {
    images.insert(images.end(), batch.images.begin(), batch.images.end());
    labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
    mixed.insert(mixed.end(), batch.mixed_label.begin(), batch.mixed_label.end());
    share.insert(share.end(), batch.label_share.begin(), batch.label_share.end());
  }
  bool operator==(const Made&) const = default;
};

// The same pictures whatever the number of ranks (also where a pair is divided) and threads, and after a resume.
TEST_P(Stream, AugmentsAsOneRankWithoutThreadsDoes) {
  constexpr std::int64_t kBatch = 15, kSteps = 70 / kBatch, kCount = 2 * kSteps;
  open({8, 9, 3});
  StreamOptions how = options();
  how.augmentation = parse_augmentation("flip,rotate=20,zoom=0.2,crop=2,jitter=0.2:0.2:0.2,cutout=3,mixup=0.4");
  how.height = how.width = 7;
  const auto make = [&](const StreamOptions& wanted, Readers from, const Range& share) {
    BatchStream stream(std::move(from), training_plan(70, kBatch, share, 3, true), wanted);
    std::vector<Made> batches;
    for (std::int64_t k = wanted.first; k < kCount; ++k) batches.emplace_back().add(*stream.next());
    return batches;
  };
  StreamOptions plain = how;
  plain.prefetch = 0;
  const auto expected = make(plain, open_again(), {0, kBatch});
  EXPECT_EQ(expected[0].images.size(), 15U * 7 * 7 * 3);
  for (const std::int64_t ranks : {1, 2, 3, 4}) {
    std::vector<Made> joined(static_cast<std::size_t>(kCount));
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const auto part = make(how, open_again(), part_of(kBatch, rank, ranks));
      for (std::size_t k = 0; k < part.size(); ++k) {
        joined[k].images.insert(joined[k].images.end(), part[k].images.begin(), part[k].images.end());
        joined[k].share.insert(joined[k].share.end(), part[k].share.begin(), part[k].share.end());
        joined[k].labels.insert(joined[k].labels.end(), part[k].labels.begin(), part[k].labels.end());
        joined[k].mixed.insert(joined[k].mixed.end(), part[k].mixed.begin(), part[k].mixed.end());
      }
    }
    EXPECT_TRUE(joined == expected) << ranks << " ranks";
  }
  how.first = 6;
  const auto resumed = make(how, open_again(), {0, kBatch});
  EXPECT_TRUE(std::equal(resumed.begin(), resumed.end(), expected.begin() + 6));
  EXPECT_FALSE(expected[0] == expected[kSteps]);  // another epoch
}

TEST_P(Stream, MixesPairs) {
  auto readers = open({4, 4, 3});
  const auto plan = training_plan(70, 5, {0, 5}, 3, true);
  BatchStream plain(open_again(), plan, options());
  StreamOptions how = options();
  how.augmentation.mixup = 1;
  BatchStream mixed(std::move(readers), plan, how);
  for (int k = 0; k < 3; ++k) {
    const Batch &p = *plain.next(), &m = *mixed.next();
    ASSERT_EQ(m.label_share.size(), 5U);
    EXPECT_TRUE(p.label_share.empty());
    EXPECT_EQ(m.label_share[4], 1);  // alone
    for (std::size_t i = 0; i < 5; ++i) {
      const std::size_t other = i == 4 ? 4 : i ^ 1U;
      EXPECT_EQ(m.labels[i], p.labels[i]);
      EXPECT_EQ(m.mixed_label[i], p.labels[other]);
      for (std::size_t x = 0; x < 48; ++x)
        EXPECT_NEAR(m.images[i * 48 + x],
                    m.label_share[i] * p.images[i * 48 + x] + (1 - m.label_share[i]) * p.images[other * 48 + x], 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(ReadAhead, Stream,
                         ::testing::Values(Threads{0, 1}, Threads{1, 1}, Threads{2, 1}, Threads{3, 1}, Threads{16, 1},
                                           Threads{1, 3}, Threads{3, 3}, Threads{16, 4}));

TEST(StreamLimits, ReadsAheadNoFurtherThanAsked) {
  const TemporaryDirectory directory;
  const auto manifest = ingest(synthetic(70, 0, {4, 4, 1}), directory.path(), 16);
  std::atomic<std::int64_t> asked = 0;
  const auto plan = [&](std::int64_t k, Selection& selection) {
    selection.indices = {k};
    selection.own = {0, 1};
    asked = k + 1;
    return true;
  };
  BatchStream stream(open_split(directory.path(), manifest, "train"), plan, StreamOptions{});
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

// Kernels' threads are pinned, and a thread inherits the processors of the one that starts it.
TEST(StreamThreads, RunOnAllProcessorsThoughTheReaderOfBatchesIsPinned) {
  const auto all = static_cast<int>(allowed_processors().size());
  const TemporaryDirectory directory;
  const auto manifest = ingest(synthetic(7, 0), directory.path(), 16);
  std::atomic<int> processors = 0;
  const auto plan = [&](std::int64_t, Selection&) {
    cpu_set_t set;
    CPU_ZERO(&set);
    EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    processors = CPU_COUNT(&set);
    return false;
  };
  std::thread([&] {
    pin_this_thread(allowed_processors().back());
    BatchStream stream(open_split(directory.path(), manifest, "train"), plan, StreamOptions{});
    EXPECT_EQ(stream.next(), nullptr);
  }).join();
  EXPECT_EQ(processors, all);
}

TEST(StreamLimits, RejectsANegativePrefetch) {
  const TemporaryDirectory directory;
  const auto manifest = ingest(synthetic(7, 0), directory.path(), 16);
  StreamOptions options;
  options.prefetch = -1;
  EXPECT_THROW(BatchStream(open_split(directory.path(), manifest, "train"), evaluation_plan({0, 7}, 2), options),
               OptionError);
}

}  // namespace
}  // namespace brigade::dataset::testing
