#include "brigade/communication/allreduce.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "brigade/core/memory.hpp"
#include "brigade/core/random.hpp"
#include "world.hpp"

namespace brigade::communication {
namespace {

// Whole numbers small enough that every partial sum is exact, so the order of additions cannot matter.
float value(int rank, std::size_t i, int sum = 0) {
  return static_cast<float>((rank + 1) * 7 + static_cast<int>(i % 1009) - 3 * sum);
}
std::vector<float> values(int rank, std::size_t count, int sum = 0) {
  std::vector<float> data(count);
  for (std::size_t i = 0; i < count; ++i) data[i] = value(rank, i, sum);
  return data;
}
std::vector<float> expected_sum(int ranks, std::size_t count, int sum = 0) {
  std::vector<float> total(count);
  for (int rank = 0; rank < ranks; ++rank)
    for (std::size_t i = 0; i < count; ++i) total[i] += value(rank, i, sum);
  return total;
}

struct Case {
  std::size_t floats, segment_bytes;
  std::optional<Algorithm> algorithm = {};  // none: each of our own
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.floats << " floats, segments of " << c.segment_bytes << " bytes, "
       << (c.algorithm ? name_of(*c.algorithm) : "any algorithm");
}

// The ranks in pairs, as if each pair were a node.
Communicator& pairs() {
  static Communicator communicator = Communicator::world(60, 2);
  return communicator;
}

constexpr Algorithm kOwn[] = {Algorithm::automatic, Algorithm::ring, Algorithm::halving_doubling,
                              Algorithm::hierarchical};

class AllreduceSums : public testing::TestWithParam<Case> {};

TEST_P(AllreduceSums, ExactlyEveryRanksValues) {
  const auto [floats, segment_bytes, only] = GetParam();
  for (Communicator* communicator : {&world(), &pairs()})
    for (const Algorithm algorithm : only ? std::span(&*only, 1) : std::span(kOwn)) {
      auto data = values(world().rank(), floats);
      allreduce(*communicator, data, {.algorithm = algorithm, .segment_bytes = segment_bytes});
      EXPECT_EQ(data, expected_sum(world().size(), floats)) << name_of(algorithm);
    }
}

INSTANTIATE_TEST_SUITE_P(Mpi, AllreduceSums,
                         testing::Values(Case{0, 16, Algorithm::mpi}, Case{1, 16, Algorithm::mpi},
                                         Case{100'003, 16, Algorithm::mpi}));
INSTANTIATE_TEST_SUITE_P(, AllreduceSums,
                         testing::Values(Case{0, 16},  // nothing
                                         Case{1, 16},  // fewer floats than ranks
                                         Case{2, 16}, Case{3, 16}, Case{4, 16}, Case{5, 16},
                                         Case{12, 4},             // a segment is a float
                                         Case{12, 1},             // never less than a float
                                         Case{37, 16},            // chunks differ, last segments are short
                                         Case{1021, 16},          // many segments
                                         Case{1021, 24},          //
                                         Case{1 << 10, 1 << 12},  // one segment a chunk, or half of one
                                         Case{100'003, 1 << 12},  // uneven and many
                                         Case{1'000'003, 256U << 10},
                                         Case{1'000'003, 1U << 30}));  // a segment larger than all

void sums_in_flight_stay_apart(Communicator& communicator, Algorithm algorithm) {
  constexpr int kSums = 12;
  std::vector<std::vector<float>> data;
  for (int s = 0; s < kSums; ++s) data.push_back(values(world().rank(), 100 + 333 * static_cast<std::size_t>(s), s));
  std::vector<Allreduce> sums;
  for (auto& one : data)
    sums.emplace_back(communicator, one, AllreduceOptions{.algorithm = algorithm, .segment_bytes = 64});
  for (int s = kSums - 1; s >= 0; --s) {  // waited for in the other order, which differs from rank to rank
    const int shifted = (s + world().rank()) % kSums;
    while (!sums[static_cast<std::size_t>(shifted)].done())
      for (auto& sum : sums) sum.advance();
  }
  for (int s = 0; s < kSums; ++s) {
    const auto& one = data[static_cast<std::size_t>(s)];
    EXPECT_EQ(one, expected_sum(world().size(), one.size(), s)) << "sum " << s << ", " << name_of(algorithm);
  }
}

TEST(Allreduce, SumsInFlightStayApart) {
  for (const Algorithm algorithm : kOwn) {
    sums_in_flight_stay_apart(world(), algorithm);
    sums_in_flight_stay_apart(pairs(), algorithm);
  }
}

// Of very different size, so that every rounding shows.
std::vector<float> wild_values(int rank, std::size_t count) {
  std::vector<float> data(count);
  for (std::size_t i = 0; i < count; ++i)
    data[i] = std::ldexp(to_uniform(random_u32({.seed = 1, .stream = static_cast<std::uint32_t>(rank)}, i)) - 0.5F,
                         static_cast<int>(i % 40) - 20);
  return data;
}

// The binary tree over the ranks [first, last), whose left side is the largest power of two.
std::vector<float> tree_sum(int first, int last, std::size_t count) {
  if (last - first == 1) return wild_values(first, count);
  const int middle = first + static_cast<int>(std::bit_ceil(static_cast<unsigned>(last - first)) / 2);
  std::vector<float> sum = tree_sum(first, middle, count);
  const std::vector<float> right = tree_sum(middle, last, count);
  for (std::size_t i = 0; i < count; ++i) sum[i] += right[i];
  return sum;
}

// Bit for bit: through messages, through shared memory, and through both.
TEST(Allreduce, SumsAlignedGroupsAsOneTree) {
  if (!std::has_single_bit(static_cast<unsigned>(world().size()))) GTEST_SKIP() << "a tree over 2, 4, 8 ranks";
  for (const std::size_t count : {5U, 1021U, 200'003U}) {
    const std::vector<float> expected = tree_sum(0, world().size(), count);
    for (Communicator* communicator : {&world(), &pairs()})
      for (const Algorithm algorithm : {Algorithm::automatic, Algorithm::halving_doubling, Algorithm::hierarchical}) {
        std::vector<float> data = wild_values(world().rank(), count);
        allreduce(*communicator, data, {.algorithm = algorithm, .segment_bytes = 1000, .one_tree = true});
        EXPECT_EQ(std::memcmp(data.data(), expected.data(), count * sizeof(float)), 0)
            << count << " floats, " << name_of(algorithm);
      }
  }
}

TEST(Allreduce, RefusesATreeFromAlgorithmsThatHaveNone) {
  if (world().size() == 1) GTEST_SKIP() << "one rank has nothing to sum";
  std::vector<float> data(3);
  for (const Algorithm algorithm : {Algorithm::ring, Algorithm::mpi})
    EXPECT_THROW(allreduce(world(), data, {.algorithm = algorithm, .one_tree = true}), OptionError);
}

// bf16 holds whole numbers up to 256, fp16 up to 2048.
TEST(Allreduce, OnANarrowWireIsExactWhereNothingIsRounded) {
  for (const Wire wire : {Wire::bf16, Wire::fp16})
    for (Communicator* communicator : {&world(), &pairs()})
      for (const std::size_t count : {1U, 5U, 37U, 1021U, 100'003U}) {
        std::vector<float> data(count), expected(count);
        for (std::size_t i = 0; i < count; ++i) {
          data[i] = static_cast<float>(static_cast<int>(i % 61) - 30 + world().rank());
          for (int rank = 0; rank < world().size(); ++rank)
            expected[i] += static_cast<float>(static_cast<int>(i % 61) - 30 + rank);
        }
        Allreduce sum(*communicator, data, {.algorithm = Algorithm::ring, .wire = wire, .segment_bytes = 256});
        sum.wait("a test");
        EXPECT_EQ(data, expected) << count << " floats, " << name_of(wire);
        std::int64_t bytes = static_cast<std::int64_t>(sum.bytes_sent());
        world().sum(std::span(&bytes, 1), "bytes");
        const std::int64_t least = 2 * static_cast<std::int64_t>(count * 2) * (world().size() - 1);
        if (wire == Wire::bf16) {
          EXPECT_EQ(bytes, least);
        } else if (world().size() > 1) {  // and 4 for the scale of each segment, of at most 126 numbers
          EXPECT_GT(bytes, least);
          EXPECT_LE(bytes,
                    least + 4 * 2 * (world().size() - 1) * (static_cast<std::int64_t>(count) / 126 + world().size()));
        }
      }
}

TEST(Allreduce, OnANarrowWireRoundsOnceARankAndLeavesTheSameBits) {
  if (world().size() == 1) GTEST_SKIP() << "one rank has nothing to sum";
  constexpr std::size_t kCount = 10'007;
  std::vector<float> sizes(kCount), expected(kCount);
  for (int rank = 0; rank < world().size(); ++rank) {
    const std::vector<float> values = wild_values(rank, kCount);
    for (std::size_t i = 0; i < kCount; ++i) sizes[i] += std::abs(values[i]), expected[i] += values[i];
  }
  for (const Wire wire : {Wire::bf16, Wire::fp16}) {
    // Half a unit of a partial sum; in fp16 of small ones half of the least number, 2^-38 of the largest (below 2^20).
    const float relative = wire == Wire::bf16 ? 0x1p-8F : 0x1p-11F, absolute = wire == Wire::bf16 ? 0 : 0x1p-18F;
    std::vector<float> data = wild_values(world().rank(), kCount);
    allreduce(world(), data, {.algorithm = Algorithm::ring, .wire = wire, .segment_bytes = 1000});
    bool rounded = false;
    for (std::size_t i = 0; i < kCount; ++i) {
      const float allowed = (sizes[i] * relative + absolute) * static_cast<float>(world().size());
      EXPECT_LE(std::abs(data[i] - expected[i]), allowed) << i << ", " << name_of(wire);
      rounded = rounded || data[i] != expected[i];
    }
    EXPECT_TRUE(rounded);  // it did travel so
    std::vector<float> of_rank_0 = data;
    world().broadcast(std::as_writable_bytes(std::span(of_rank_0)), 0, "the sum of rank 0");
    EXPECT_EQ(data, of_rank_0);
    EXPECT_THROW(allreduce(world(), data, {.algorithm = Algorithm::halving_doubling, .wire = wire}), OptionError);
  }
}

// A message in fp16 as its definition says: times a power of two that brings its largest number to 2^14 ... 2^15, 11
// bits each, but no unit below 2^-24.
void round_as_fp16_message(std::span<float> message) {
  double largest = 0;
  for (const float x : message) largest = std::max(largest, std::abs(static_cast<double>(x)));
  if (largest == 0) return;
  const auto rounded = [](double x, int least_exponent) {
    const double unit = std::ldexp(1.0, std::max(std::ilogb(x), least_exponent) - 10);
    return std::nearbyint(x / unit) * unit;
  };
  const double scale = std::ldexp(1.0, 14 - std::ilogb(rounded(largest, -1000)));
  for (float& x : message)
    if (x != 0) x = static_cast<float>(rounded(x * scale, -14) / scale);
}

// Every bit, from rank to rank along the ring: huge and tiny messages, and numbers of all sizes in one.
TEST(Allreduce, InFp16IsWhatTheRingOfScaledMessagesGives) {
  const int ranks = world().size();
  if (ranks == 1) GTEST_SKIP() << "one rank has nothing to sum";
  constexpr std::size_t kChunk = 1003;
  for (const float size : {1.0F, 0x1p100F, 0x1p-90F}) {
    const auto values_of = [&](int rank) {
      std::vector<float> values = wild_values(rank, kChunk * static_cast<std::size_t>(ranks));
      for (float& x : values) x *= size;
      return values;
    };
    std::vector<float> expected;
    for (int chunk = 0; chunk < ranks; ++chunk) {  // begins at rank `chunk`
      const auto part_of = [&](int rank) {
        const std::vector<float> all = values_of(rank % ranks);
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(kChunk) * chunk;
        return std::vector<float>(begin, begin + kChunk);
      };
      std::vector<float> sum = part_of(chunk);
      for (int hop = 1; hop < ranks; ++hop) {
        round_as_fp16_message(sum);
        const std::vector<float> more = part_of(chunk + hop);
        for (std::size_t i = 0; i < kChunk; ++i) sum[i] += more[i];
      }
      round_as_fp16_message(sum);
      expected.insert(expected.end(), sum.begin(), sum.end());
    }
    std::vector<float> data = values_of(world().rank());
    allreduce(world(), data, {.algorithm = Algorithm::ring, .wire = Wire::fp16, .segment_bytes = 1U << 20});
    EXPECT_EQ(data, expected) << "times " << size;
  }
}

TEST(Allreduce, InFp16InfiniteAndNanArriveAndNothingElseBecomesSo) {
  if (world().size() == 1) GTEST_SKIP() << "one rank has nothing to sum";
  std::vector<float> data(64, 3e38F / static_cast<float>(world().size()));
  if (world().rank() == 0) data[5] = INFINITY, data[7] = NAN;
  allreduce(world(), data, {.algorithm = Algorithm::ring, .wire = Wire::fp16, .segment_bytes = 1U << 20});
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (i == 5)
      EXPECT_EQ(data[i], INFINITY);
    else if (i == 7)
      EXPECT_TRUE(std::isnan(data[i]));
    else
      EXPECT_NEAR(data[i], 3e38F, 3e38F * 0x1p-9F);
  }
}

// Sums of parts of an array that all ranks see: the tree's bits, and nothing beside the part is touched.
TEST(Allreduce, SumsInArrayMemoryWhereItIs) {
  for (Communicator* communicator : {&world(), &pairs()})
    for (const std::size_t count : {20'000U, 100'003U, 300'001U}) {
      constexpr std::size_t kBefore = 5, kAfter = 7;
      const Buffer buffer(communicator->array_memory(), (kBefore + count + kAfter) * sizeof(float));
      const std::span<float> all(buffer.as<float>(), kBefore + count + kAfter), part = all.subspan(kBefore, count);
      std::ranges::fill(all, -1.0F);
      std::ranges::copy(values(world().rank(), count), part.begin());
      allreduce(*communicator, part);
      EXPECT_TRUE(std::ranges::equal(part, expected_sum(world().size(), count)));
      for (const float outside : all.first(kBefore)) EXPECT_EQ(outside, -1.0F);
      for (const float outside : all.last(kAfter)) EXPECT_EQ(outside, -1.0F);

      std::ranges::copy(wild_values(world().rank(), count), part.begin());
      allreduce(*communicator, part, {.algorithm = Algorithm::halving_doubling});
      const std::vector<float> by_messages(part.begin(), part.end());
      std::ranges::copy(wild_values(world().rank(), count), part.begin());
      allreduce(*communicator, part);
      if (communicator == &pairs() || !std::has_single_bit(static_cast<unsigned>(world().size()))) continue;
      EXPECT_EQ(std::memcmp(part.data(), by_messages.data(), part.size_bytes()), 0);
    }
}

// Pairs as nodes: where arrays lie changes no bit, whatever travels between the nodes.
TEST(Allreduce, SumsInArrayMemoryOfSeveralNodesAsThroughTheWindow) {
  for (const std::size_t count : {10'000U, 100'003U})
    for (const Wire wire : {Wire::fp32, Wire::bf16, Wire::fp16})
      for (const bool one_tree : {false, true}) {
        if (one_tree && wire != Wire::fp32) continue;
        const AllreduceOptions options{.wire = wire, .segment_bytes = 3000, .one_tree = one_tree};
        const Buffer buffer(pairs().array_memory(), count * sizeof(float));
        const std::span<float> shared(buffer.as<float>(), count);
        std::vector<float> own = wild_values(world().rank(), count);
        std::ranges::copy(own, shared.begin());
        Allreduce in_place(pairs(), shared, options), through_window(pairs(), own, options);
        in_place.wait("a sum in place");
        through_window.wait("a sum through the window");
        EXPECT_EQ(std::memcmp(shared.data(), own.data(), shared.size_bytes()), 0) << count << ", " << name_of(wire);
        if (pairs().size() > 2) {  // on one node it is bytes shown, which are fewer here
          EXPECT_EQ(in_place.bytes_sent(), through_window.bytes_sent());
        }
      }
}

// Many in flight, ranks come late in turn, arrays are used anew at once.
void sums_in_array_memory_one_after_the_other(Communicator& communicator) {
  constexpr std::size_t kSums = 6, kFloats = 50'000, kRounds = 20;
  const Buffer buffer(communicator.array_memory(), kSums * kFloats * sizeof(float));
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<Allreduce> sums;
    for (std::size_t s = 0; s < kSums; ++s) {
      const std::span<float> one(buffer.as<float>() + s * kFloats, kFloats);
      std::ranges::copy(values(world().rank(), kFloats, static_cast<int>(s + round)), one.begin());
      if (static_cast<int>(round) % world().size() == world().rank()) std::this_thread::yield();
      sums.emplace_back(communicator, one);
    }
    for (bool done = false; !done && &communicator == &pairs();) {  // over nodes a sum needs the older ones to move on
      done = true;
      for (std::size_t s = kSums; s-- > 0;) sums[s].advance(), done = sums[s].done() && done;
    }
    for (std::size_t s = kSums; s-- > 0;) sums[s].wait("a test");
    for (std::size_t s = 0; s < kSums; ++s)
      ASSERT_TRUE(std::ranges::equal(std::span(buffer.as<float>() + s * kFloats, kFloats),
                                     expected_sum(world().size(), kFloats, static_cast<int>(s + round))))
          << "round " << round << ", sum " << s;
  }
}

TEST(Allreduce, SumsInArrayMemoryOneAfterTheOther) {
  sums_in_array_memory_one_after_the_other(world());
  sums_in_array_memory_one_after_the_other(pairs());
}

TEST(Allreduce, LeavesTheSameBitsOnEveryRank) {
  for (const std::size_t count : {5U, 1021U, 65'537U})
    for (Communicator* communicator : {&world(), &pairs()})
      for (const Algorithm algorithm : kOwn) {
        std::vector<float> data = wild_values(world().rank(), count);
        allreduce(*communicator, data, {.algorithm = algorithm, .segment_bytes = 1000});
        std::vector<float> of_rank_0 = data;
        world().broadcast(std::as_writable_bytes(std::span(of_rank_0)), 0, "the sum of rank 0");
        EXPECT_EQ(std::memcmp(data.data(), of_rank_0.data(), count * sizeof(float)), 0)
            << count << " floats, " << name_of(algorithm);
      }
}

// 2K(N-1)/N bytes: exactly, summed over the ranks, whatever the chunks and segments.
TEST(Allreduce, SendsNoMoreThanItMust) {
  for (const std::size_t count : {1U, 37U, 10'000U}) {
    auto data = values(world().rank(), count);
    Allreduce sum(world(), data, {.algorithm = Algorithm::ring, .segment_bytes = 256});
    sum.wait("a test");
    EXPECT_TRUE(sum.done());
    EXPECT_FALSE(sum.advance());
    std::int64_t bytes = static_cast<std::int64_t>(sum.bytes_sent());
    world().sum(std::span(&bytes, 1), "bytes");
    EXPECT_EQ(bytes, 2 * static_cast<std::int64_t>(count * sizeof(float)) * (world().size() - 1));
  }
}

TEST(Allreduce, OfACommunicatorAloneIsTheIdentity) {
  Communicator alone;
  auto data = values(3, 10);
  Allreduce sum(alone, data);
  EXPECT_TRUE(sum.done());
  EXPECT_FALSE(sum.advance());
  sum.wait("nobody");
  EXPECT_EQ(sum.bytes_sent(), 0U);
  EXPECT_EQ(data, values(3, 10));
}

// Three threads, and how often they were asked.
class ThreeThreads final : public Threads {
 public:
  int count() const override { return 3; }
  void each(const std::function<void(int)>& work) override {
    ++times;
    std::thread first([&] { work(0); }), second([&] { work(1); });
    work(2);
    first.join();
    second.join();
  }

  int times = 0;
};

// Arrays of which every thread has a part: in memory that all see, and in one's own, by messages of each format.
TEST(Allreduce, HasTheSameBitsWithAnyNumberOfThreads) {
  if (world().size() == 1) GTEST_SKIP() << "nothing to add";
  constexpr std::size_t kFloats = 1'600'003;
  const auto mine = wild_values(world().rank(), kFloats);
  ThreeThreads three;
  for (Communicator* ranks : {&world(), &pairs()}) {
    const Buffer shared(ranks->array_memory(), kFloats * sizeof(float));
    std::vector<float> own(kFloats);
    for (const std::span<float> array : {std::span(shared.as<float>(), kFloats), std::span(own)})
      for (const AllreduceOptions& options :
           {AllreduceOptions{}, AllreduceOptions{.algorithm = Algorithm::halving_doubling},
            AllreduceOptions{.algorithm = Algorithm::ring, .segment_bytes = 4U << 20},
            AllreduceOptions{.algorithm = Algorithm::ring, .wire = Wire::bf16, .segment_bytes = 4U << 20},
            AllreduceOptions{.algorithm = Algorithm::ring, .wire = Wire::fp16, .segment_bytes = 4U << 20}}) {
        std::vector<float> alone = mine;
        allreduce(*ranks, alone, options);
        ranks->set_threads(three);
        const int before = three.times;
        std::ranges::copy(mine, array.begin());
        allreduce(*ranks, array, options);
        ranks->set_threads(calling_thread());
        EXPECT_TRUE(std::ranges::equal(array, alone)) << name_of(options.algorithm) << ", " << name_of(options.wire);
        // Of a ring, every rank adds; otherwise others may have done it all.
        std::int64_t asked[] = {three.times - before};
        if (options.algorithm != Algorithm::ring) world().sum(asked, "counting");
        const bool in_window =
            options.algorithm == Algorithm::automatic && array.data() == own.data();  // in short pieces
        EXPECT_TRUE(asked[0] > 0 || in_window) << name_of(options.algorithm) << ", " << name_of(options.wire);
      }
  }
}

}  // namespace
}  // namespace brigade::communication
