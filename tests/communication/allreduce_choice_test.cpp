#include <gtest/gtest.h>

#include <vector>

#include "brigade/communication/allreduce.hpp"
#include "world.hpp"

namespace brigade::communication {
namespace {

// Each rank alone on a node, and two of them on each.
Communicator& one_a_node() {
  static Communicator communicator = Communicator::world(60, 1);
  return communicator;
}
Communicator& two_a_node() {
  static Communicator communicator = Communicator::world(60, 2);
  return communicator;
}

TEST(AllreduceChoice, ShortSumsSaveRoundsAndLongOnesBytes) {
  constexpr std::size_t kKiB = 1U << 10, kMiB = 1U << 20;
  // A power of two sends what a ring sends, and in 12 rounds instead of 126 between 64 nodes.
  EXPECT_EQ(shipped_short_bytes(2), 2 * kMiB);
  EXPECT_EQ(shipped_short_bytes(64), 64 * kMiB);
  // Other nodes have to be folded in and out. Three: four rounds either way, but for arrays that are exchanged whole.
  EXPECT_EQ(shipped_short_bytes(3), 16 * kKiB);
  EXPECT_EQ(shipped_short_bytes(6),
            43'636U);  // four rounds less; 3.5 instead of 5/3 times the bytes: 4 / (11/6) x 20,000
  for (const int nodes : {7, 12, 48, 1000}) {
    EXPECT_GT(shipped_short_bytes(nodes), shipped_short_bytes(nodes - 1)) << nodes;
    EXPECT_LT(shipped_short_bytes(nodes), kMiB * static_cast<std::size_t>(nodes)) << nodes;
  }
  // A wire of 16 bits halves the ring's bytes.
  EXPECT_EQ(shipped_short_bytes(2, Wire::bf16), 16 * kKiB);
  EXPECT_EQ(shipped_short_bytes(4, Wire::fp16), 53'333U);  // two rounds less, twice the bytes: 2 / 0.75 x 20,000
  EXPECT_LT(shipped_short_bytes(48, Wire::bf16), shipped_short_bytes(48));
}

TEST(AllreduceChoice, IsMadeByTheNumberOfNodesAndTheBytesOfTheSum) {
  const int ranks = world().size();
  if (ranks == 1) {
    const SumRoute alone = route_of(world(), 1U << 20, {.algorithm = Algorithm::ring, .wire = Wire::bf16});
    EXPECT_FALSE(alone.between || alone.node_memory);
    EXPECT_EQ(exchanging_nodes(world()), 1);
    return;
  }
  EXPECT_EQ(exchanging_nodes(one_a_node()), ranks);
  EXPECT_EQ(exchanging_nodes(two_a_node()), ranks == 4 ? 2 : ranks == 2 ? 1 : 3);  // of three, one would be alone
  for (const Wire wire : {Wire::fp32, Wire::bf16}) {
    const std::size_t border = shipped_short_bytes(ranks, wire);
    const SumRoute shorter = route_of(one_a_node(), border, {.wire = wire});
    EXPECT_EQ(shorter.between, Algorithm::halving_doubling);
    EXPECT_EQ(shorter.wire, Wire::fp32);
    EXPECT_EQ(shorter.peers, ranks);
    const SumRoute longer = route_of(one_a_node(), border + 4, {.wire = wire});
    EXPECT_EQ(longer.between, Algorithm::ring);
    EXPECT_EQ(longer.wire, wire);
  }
  if (ranks != 4) return;
  const SumRoute pairs = route_of(two_a_node(), shipped_short_bytes(2) + 4, {});
  EXPECT_TRUE(pairs.node_memory);
  EXPECT_EQ(pairs.between, Algorithm::ring);
  EXPECT_EQ(pairs.peers, 2);
  EXPECT_EQ(pairs.slices, 2);
}

TEST(AllreduceChoice, GoesByTheSizeThatWasMeasured) {
  if (world().size() == 1) GTEST_SKIP() << "one rank exchanges nothing";
  for (const Algorithm algorithm : {Algorithm::automatic, Algorithm::hierarchical}) {
    const AllreduceOptions options{.algorithm = algorithm, .short_bytes = 4000};
    EXPECT_EQ(route_of(one_a_node(), 4000, options).between, Algorithm::halving_doubling);
    EXPECT_EQ(route_of(one_a_node(), 4004, options).between, Algorithm::ring);
  }
  const AllreduceOptions never{.short_bytes = 0};
  EXPECT_EQ(route_of(one_a_node(), 4, never).between, Algorithm::ring);
  const AllreduceOptions tree{.one_tree = true, .short_bytes = 0};
  EXPECT_EQ(route_of(one_a_node(), 1U << 20, tree).between, Algorithm::halving_doubling);
}

TEST(AllreduceChoice, LeavesWhatWasChosenAlone) {
  if (world().size() == 1) GTEST_SKIP() << "one rank exchanges nothing";
  for (const Algorithm algorithm : {Algorithm::ring, Algorithm::halving_doubling, Algorithm::mpi}) {
    const SumRoute route = route_of(world(), 1U << 20, {.algorithm = algorithm, .short_bytes = 4});
    EXPECT_EQ(route.between, algorithm);
    EXPECT_FALSE(route.node_memory);
    EXPECT_EQ(route.peers, world().size());
  }
  const SumRoute node = route_of(world(), 1U << 20, {.wire = Wire::bf16});
  EXPECT_TRUE(node.node_memory);
  EXPECT_FALSE(node.between);
  EXPECT_EQ(message_bytes(node, 1U << 20), 0U);
}

TEST(AllreduceChoice, KnowsWhatIsSent) {
  if (world().size() == 1) GTEST_SKIP() << "one rank sends nothing";
  for (Communicator* communicator : {&one_a_node(), &two_a_node()})
    for (const std::size_t floats : {1536U, 49'152U, 122'880U})
      for (const AllreduceOptions& options :
           {AllreduceOptions{.algorithm = Algorithm::ring}, AllreduceOptions{.algorithm = Algorithm::halving_doubling},
            AllreduceOptions{.algorithm = Algorithm::ring, .wire = Wire::bf16}, AllreduceOptions{.short_bytes = 0},
            AllreduceOptions{.short_bytes = 1U << 20}}) {
        const SumRoute route = route_of(*communicator, floats * sizeof(float), options);
        if (!route.between) continue;
        std::vector<float> data(floats, 1.0F);
        Allreduce sum(*communicator, data, options);
        sum.wait("a test");
        const auto sent = static_cast<std::int64_t>(sum.bytes_sent());
        const std::int64_t most = -world().minimum(-sent, "the rank that sends most");
        EXPECT_EQ(most, static_cast<std::int64_t>(message_bytes(route, floats * sizeof(float))))
            << floats << " floats, " << name_of(*route.between) << " over " << route.peers;
      }
}

TEST(AllreduceChoice, RefusesOptionsThatContradictOneAnother) {
  EXPECT_NO_THROW(check({.wire = Wire::fp16}));
  EXPECT_NO_THROW(check({.algorithm = Algorithm::hierarchical, .wire = Wire::bf16}));
  EXPECT_NO_THROW(check({.algorithm = Algorithm::halving_doubling, .one_tree = true}));
  EXPECT_THROW(check({.algorithm = Algorithm::ring, .one_tree = true}), OptionError);
  EXPECT_THROW(check({.algorithm = Algorithm::mpi, .one_tree = true}), OptionError);
  EXPECT_THROW(check({.wire = Wire::bf16, .one_tree = true}), OptionError);
  EXPECT_THROW(check({.algorithm = Algorithm::mpi, .wire = Wire::fp16}), OptionError);
  EXPECT_THROW(check({.algorithm = Algorithm::halving_doubling, .wire = Wire::fp16}), OptionError);
  EXPECT_THROW(route_of(world(), 4, {.algorithm = Algorithm::mpi, .wire = Wire::fp16}), OptionError);  // alone, too
}

}  // namespace
}  // namespace brigade::communication
