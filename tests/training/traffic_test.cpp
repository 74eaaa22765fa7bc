// What --dry-run says that ranks will send, beside what they sent.
#include "traffic.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

#include "ranks.hpp"

namespace brigade::training {
namespace {

using communication::Algorithm;
using communication::Communicator;
using communication::Wire;

constexpr std::size_t kWeights = 4 * 61'706, kStatus = 4 * 5;  // bytes of lenet5, which has no statistics

// Each rank alone on a node.
Communicator& one_a_node() {
  static Communicator communicator = Communicator::world(60, 1);
  return communicator;
}
Plan plan_of(const TrainOptions& options) {
  return make_plan(options, world->rank(), world->size(), world->node_size());
}

TEST(Traffic, IsWhatAStepSends) {
  if (world->size() == 1) GTEST_SKIP() << "one rank sends nothing";
  for (const Wire wire : {Wire::fp32, Wire::bf16}) {
    auto options = options_for(fmt::format("traffic-{}", communication::name_of(wire)));
    options.allreduce.algorithm = Algorithm::ring;
    options.allreduce.wire = wire;
    options.max_steps = 1;
    const Traffic traffic = traffic_of(plan_of(options), options, *world);
    EXPECT_EQ(traffic.summed_bytes, kWeights + kStatus);
    const auto ranks = static_cast<double>(world->size());
    const double share = 2 * (ranks - 1) / ranks / (wire == Wire::fp32 ? 1 : 2);
    EXPECT_NEAR(static_cast<double>(traffic.sent_bytes), share * (kWeights + kStatus), 64);
    train(options, *backend, *world);
    world->barrier("the logs");
    // Chunks of buckets that end at borders of layers are not quite equal.
    EXPECT_NEAR(column(options.run, "sent_bytes").at(0) / static_cast<double>(traffic.sent_bytes), 1, 1e-3);
  }
}

TEST(Traffic, OfLocalSgdIsWeightsAndOptimizerStateNowAndThen) {
  if (world->size() == 1) GTEST_SKIP() << "one rank sends nothing";
  auto options = options_for("traffic-local");
  options.strategy = StrategyKind::local_sgd;
  options.sync_every = 3;
  options.allreduce.algorithm = Algorithm::ring;
  EXPECT_EQ(planned_sums(plan_of(options), options), (std::vector<std::size_t>{kWeights, kWeights, kStatus}));
  EXPECT_THAT(describe_traffic(plan_of(options), options, *world),
              testing::AllOf(testing::HasSubstr(" MB sent every 3 steps by each rank (0.49 MB of weights"),
                             testing::HasSubstr(fmt::format("ring between {} ranks", world->size()))));
  options.optimizer.kind = OptimizerKind::adam;
  options.max_steps = 3;
  const Traffic traffic = traffic_of(plan_of(options), options, *world);
  EXPECT_EQ(traffic.summed_bytes, 3 * kWeights + kStatus);
  train(options, *backend, *world);
  world->barrier("the logs");
  const auto sent = column(options.run, "sent_bytes");
  EXPECT_EQ(sent.at(0), 0);
  EXPECT_NEAR(sent.at(2) / static_cast<double>(traffic.sent_bytes), 1, 1e-3);
}

TEST(Traffic, OfParameterServersIsNoSum) {
  auto options = options_for("traffic-served");
  options.strategy = StrategyKind::parameter_server;
  EXPECT_TRUE(planned_sums(plan_of(options), options).empty());
  EXPECT_THAT(describe_traffic(plan_of(options), options, one_a_node()),
              testing::HasSubstr("0.25 MB pushed to 1 server(s)"));
  EXPECT_FALSE(allreduce_table_of(plan_of(options), options, one_a_node()));
}

TEST(Traffic, SaysByWhichSizesSumsAreToldApart) {
  auto options = options_for("traffic-table");
  options.bucket_bytes = 100'000;  // 100'000 twice, and 46'844
  if (world->size() == 1) {
    EXPECT_EQ(describe_traffic(plan_of(options), options, *world), "traffic         none (one rank)\n");
    EXPECT_FALSE(allreduce_table_of(plan_of(options), options, *world));
    return;
  }
  options.allreduce.short_bytes = 50'000;
  options.allreduce_table = "table.json";
  const auto table = allreduce_table_of(plan_of(options), options, one_a_node());
  ASSERT_TRUE(table);
  EXPECT_EQ(table->nodes, world->size());
  EXPECT_EQ(table->halving_doubling_up_to_bytes, 50'000);
  EXPECT_EQ(table->source, "table.json");
  EXPECT_TRUE(table->others.empty()) << "nothing measured on them";
  EXPECT_THAT(
      describe_traffic(plan_of(options), options, one_a_node()),
      testing::HasSubstr(fmt::format("ring and halving-doubling between {} ranks; halving-doubling up to 48 KiB, "
                                     "ring above (table.json)",
                                     world->size())));
  EXPECT_FALSE(allreduce_table_of(plan_of(options), options, *world)) << "one node";
  options.allreduce = {.algorithm = Algorithm::ring};
  EXPECT_FALSE(allreduce_table_of(plan_of(options), options, one_a_node())) << "nothing to choose";
  options.allreduce = {};
  options.allreduce_table.clear();
  const auto shipped = allreduce_table_of(plan_of(options), options, one_a_node());
  EXPECT_EQ(shipped->source, "as shipped");
  EXPECT_EQ(shipped->halving_doubling_up_to_bytes,
            static_cast<std::int64_t>(communication::shipped_short_bytes(world->size())));
  EXPECT_EQ(shipped->others.at(4096), static_cast<std::int64_t>(communication::shipped_short_bytes(4096)));
  EXPECT_FALSE(shipped->others.contains(world->size()));
}

TEST(Traffic, NotesAWireThatNothingTravelsOn) {
  auto options = options_for("traffic-wire");
  EXPECT_EQ(note_on_wire(plan_of(options), options, *world), "");
  options.allreduce.wire = Wire::bf16;
  EXPECT_THAT(note_on_wire(plan_of(options), options, *world), testing::HasSubstr("no messages between nodes"));
  if (world->size() == 1) return;
  options.allreduce.short_bytes = 0;
  EXPECT_EQ(note_on_wire(plan_of(options), options, one_a_node()), "");
  options.allreduce.short_bytes = 1U << 20;
  EXPECT_THAT(note_on_wire(plan_of(options), options, one_a_node()), testing::HasSubstr("short"));
}

TEST(Traffic, PlansRefuseContradictoryOptions) {
  auto options = options_for("contradictory");
  options.allreduce = {.algorithm = Algorithm::mpi, .wire = Wire::bf16};
  EXPECT_THROW(plan_of(options), OptionError);
  options.allreduce = {.wire = Wire::bf16};
  options.micro_batches = 4;
  EXPECT_NO_THROW(plan_of(options));
  options.reproducible = true;
  EXPECT_THROW(plan_of(options), OptionError);
}

}  // namespace
}  // namespace brigade::training
