#include "../src/network/memory_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "brigade/core/random.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/network/zoo.hpp"

namespace brigade::network {
namespace {

MemoryPlan plan_of(const Graph& graph, std::int64_t batch, bool training, const Passes& passes = {}) {
  return plan_memory(make_schedule(graph, training, passes), batch);
}

// Nodes as they are written, each value stored once.
constexpr Passes kPlain{.fuse_activation = false,
                        .fold_batch_norm = false,
                        .producer_statistics = false,
                        .normalise_on_read = false,
                        .gradient_through = false,
                        .concat_in_place = false,
                        .recompute = false};

// Most bytes alive at one moment: no plan can need less.
std::int64_t lower_bound(const std::vector<Block>& blocks) {
  std::int64_t most = 0;
  for (const Block& at : blocks) {
    std::int64_t alive = 0;
    for (const Block& b : blocks) alive += b.first <= at.first && at.first <= b.last ? b.bytes : 0;
    most = std::max(most, alive);
  }
  return most;
}

// Every pair, by brute force.
void expect_disjoint(const std::vector<Block>& blocks, std::int64_t bytes) {
  for (const Block& a : blocks) {
    EXPECT_LE(a.first, a.last) << a.name;
    EXPECT_EQ(a.offset % kBlockAlignment, 0) << a.name;
    EXPECT_EQ(a.bytes % kBlockAlignment, 0) << a.name;
    EXPECT_GE(a.offset, 0) << a.name;
    EXPECT_LE(a.offset + a.bytes, bytes) << a.name;
    for (const Block& b : blocks) {
      if (&a == &b || a.last < b.first || b.last < a.first) continue;
      EXPECT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset) << a.name << " meets " << b.name;
    }
  }
}

// A value has a place unless its readers normalise, a gradient in training, and ranges of channels end within the
// whole.
void expect_room(const Schedule& schedule, const MemoryPlan& plan, NodeId id, std::int64_t batch, bool training) {
  const Node& node = schedule.node(id);
  const NodeBlocks& blocks = plan.nodes[static_cast<std::size_t>(id)];
  ASSERT_EQ(static_cast<bool>(blocks.value), !schedule.at(id).normalised_on_read) << node.name;
  EXPECT_EQ(static_cast<bool>(blocks.gradient), training && id > 0 && !schedule.at(id).gradient_through) << node.name;
  const auto element = static_cast<std::int64_t>(size_of(schedule.at(id).type));
  for (const Place& place : {blocks.value, blocks.again, blocks.gradient}) {
    if (!place) continue;
    const std::int64_t pixels = batch * node.output.size() / node.output.back();
    const std::int64_t row = place.pitch > 0 ? place.pitch : node.output.back();
    EXPECT_LE(place.channel + node.output.back(), row) << node.name;
    if (plan.blocks[static_cast<std::size_t>(place.block)].borrowed) {
      EXPECT_EQ(place, plan.images) << node.name;
      continue;
    }
    EXPECT_GE(plan.blocks[static_cast<std::size_t>(place.block)].bytes, element * pixels * row) << node.name;
  }
}

// With the passes as they come, and with all of them.
TEST(MemoryPlan, NoTwoLiveTensorsOverlap) {
  Passes all;
  for (const PassName& pass : pass_names()) all.*pass.enabled = true;
  for (const ZooEntry& entry : zoo())
    for (const Passes& passes : {Passes{}, all})
      for (const bool training : {false, true})
        for (const auto& [batch, precision] :
             {std::pair{1, Precision::fp32}, {7, Precision::bf16}, {64, Precision::fp32}}) {
          SCOPED_TRACE(fmt::format("{}, batch {}, training {}", entry.name, batch, training));
          const Schedule schedule = make_schedule(entry.make({}), training, passes, precision);
          const MemoryPlan plan = plan_memory(schedule, batch);
          expect_disjoint(plan.blocks, plan.bytes);
          EXPECT_LE(plan.bytes, lower_bound(plan.blocks) * 1.05);
          for (NodeId id = 0; id < schedule.end(); ++id) expect_room(schedule, plan, id, batch, training);
        }
}

// A tensor that could be computed in place is not, where its input is the caller's.
TEST(MemoryPlan, BorrowedImagesTakeNoBytesAndAreNotOverwritten) {
  GraphBuilder net("net", "", 8, 8, 3);
  const NodeId relu = net.relu(net.input(), "relu");
  net.dense(net.flatten(relu, "flat"), "logits", 3);
  const Schedule schedule = make_schedule(std::move(net).finish(), true, {});
  const MemoryPlan borrowed = plan_memory(schedule, 2), uploaded = plan_memory(schedule, 2, Images::uploaded);
  EXPECT_NE(borrowed.nodes[static_cast<std::size_t>(relu)].value, borrowed.images);
  EXPECT_EQ(borrowed.blocks[static_cast<std::size_t>(borrowed.images.block)].bytes, 0);
  EXPECT_EQ(uploaded.nodes[static_cast<std::size_t>(relu)].value, uploaded.images);
  EXPECT_EQ(uploaded.blocks[static_cast<std::size_t>(uploaded.images.block)].bytes, 2 * 8 * 8 * 3 * 4);

  const Graph resnet = make_network("resnet50");
  const Schedule training = make_schedule(resnet, true, {});
  EXPECT_EQ(
      lower_bound(plan_memory(training, 2, Images::uploaded).blocks) - lower_bound(plan_memory(training, 2).blocks),
      2 * resnet.input().size() * static_cast<std::int64_t>(sizeof(float)));
}

// Activations and gradients are half as large; statistics, winners and scores are what they were.
TEST(MemoryPlan, Bf16TakesHalf) {
  for (const char* network : {"resnet50", "mobilenet-v2", "densenet121"}) {
    const Graph graph = make_network(network);
    const auto fp32 = static_cast<double>(planned_bytes(graph, 16, true));
    const auto bf16 = static_cast<double>(planned_bytes(graph, 16, true, {}, Precision::bf16));
    EXPECT_NEAR(bf16 / fp32, 0.5, 0.03) << network;
  }
}

TEST(MemoryPlan, PlacesArbitraryBlocks) {
  for (std::uint32_t round = 0; round < 50; ++round) {
    const RandomKey key{.stream = round};
    std::vector<Block> blocks(40);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const PhiloxBlock draw = random_block(key, i);
      const int first = static_cast<int>(draw[1] % 30);
      blocks[i] = {.name = std::to_string(i),
                   .bytes = 64 * (1 + draw[0] % 20),
                   .first = first,
                   .last = first + static_cast<int>(draw[2] % 8)};
    }
    const std::int64_t bytes = place_blocks(blocks);
    expect_disjoint(blocks, bytes);
    EXPECT_LE(bytes, lower_bound(blocks) * 1.3);
  }
}

// conv -> bn(ReLU) -> dropout -> pool -> flatten -> dense, with the moments of the timeline written out.
TEST(MemoryPlan, SharesWhatTheContractsAllow) {
  GraphBuilder net("net", "", 8, 8, 3);
  const NodeId conv = net.conv2d(net.input(), "conv", 4, 3, {});
  const NodeId norm = net.batch_norm(conv, "norm");
  const NodeId drop = net.dropout(norm, "drop", 0.5F);
  const NodeId pool = net.max_pool(drop, "pool");
  const NodeId flat = net.flatten(pool);
  const NodeId dense = net.dense(flat, "dense", 5);
  const Graph graph = std::move(net).finish();
  const MemoryPlan plan = plan_of(graph, 2, true);
  const Timeline time{7};
  const auto of = [&](NodeId id) { return plan.nodes[static_cast<std::size_t>(id)]; };
  const auto block = [&](const Place& place) { return plan.blocks[static_cast<std::size_t>(place.block)]; };

  EXPECT_EQ(of(drop).value, of(norm).value) << "dropout runs in place";
  EXPECT_EQ(of(flat).value, of(pool).value) << "flatten is a view";
  EXPECT_NE(of(norm).value, of(conv).value) << "backward of batch norm needs its x";
  EXPECT_EQ(of(flat).gradient, of(pool).gradient);
  EXPECT_EQ(of(drop).gradient, of(norm).gradient);
  EXPECT_EQ(of(norm).gradient, of(conv).gradient) << "batch norm's dx is written over its dy";
  EXPECT_NE(of(drop).gradient, of(pool).gradient);
  EXPECT_EQ(of(dense).gradient, of(dense).value) << "the gradient of the logits is written over them";

  EXPECT_EQ(block(of(conv).value).last, time.backward(norm));
  EXPECT_EQ(block(of(norm).value).last, time.forward(pool)) << "its values die with the pooling";
  EXPECT_EQ(block(of(pool).value).last, time.backward(dense));
  EXPECT_EQ(block(of(pool).winners).last, time.backward(pool));
  EXPECT_EQ(block(of(pool).winners).bytes, (2 * 3 * 3 * 4 + 63) / 64 * 64) << "one byte a winner";
  EXPECT_EQ(block(of(conv).gradient).last, time.backward(conv));
  EXPECT_EQ(block(of(0).value).last, time.backward(conv)) << "the kernel's gradient needs the image";

  const MemoryPlan inference = plan_of(graph, 2, false);
  EXPECT_EQ(inference.nodes[static_cast<std::size_t>(norm)].value,
            inference.nodes[static_cast<std::size_t>(conv)].value);
  EXPECT_LT(inference.bytes, plan.bytes);
}

// The moments of two residual blocks: the first with a shortcut that others read, the second as in ResNet.
TEST(MemoryPlan, ResidualBlocks) {
  GraphBuilder net("net", "", 8, 8, 4);
  const NodeId stem = net.conv2d(net.input(), "stem", 4, 1, {});
  const NodeId conv = net.conv2d(stem, "conv", 4, 3, {.padding = Padding::same});
  const NodeId norm = net.batch_norm(conv, "norm");
  const NodeId sum = net.add(stem, norm, "sum");
  const NodeId scaled = net.add(sum, net.conv2d(sum, "conv2", 4, 1, {}), "scaled", 0.5F);
  const NodeId both = net.concat({scaled, sum}, "both");
  net.dense(net.global_average_pool(both, "mean"), "logits", 3);
  const Graph graph = std::move(net).finish();
  const MemoryPlan plan = plan_of(graph, 2, true, kPlain);
  const Timeline time{static_cast<int>(graph.nodes.size())};
  const auto of = [&](NodeId id) { return plan.nodes[static_cast<std::size_t>(id)]; };
  const auto block = [&](const Place& place) { return plan.blocks[static_cast<std::size_t>(place.block)]; };

  EXPECT_EQ(of(sum).value, of(norm).value) << "the sum is written over the branch, which nobody else wants";
  EXPECT_NE(of(sum).value, of(stem).value);
  EXPECT_EQ(block(of(stem).value).last, time.backward(conv)) << "the last that reads it";
  EXPECT_EQ(block(of(sum).value).last, time.backward(scaled - 1));

  EXPECT_EQ(of(stem).gradient, of(sum).gradient) << "one gradient for both summands";
  EXPECT_EQ(of(norm).gradient, of(sum).gradient);
  EXPECT_NE(of(conv).gradient, of(norm).gradient) << "batch norm must not write over the shortcut's gradient";
  ASSERT_EQ(of(conv).input_gradients.size(), 1U);
  EXPECT_TRUE(of(conv).input_gradients[0].add) << "the second to write the gradient of the stem";
  EXPECT_NE(of(conv).input_gradients[0].place, of(stem).gradient);
  EXPECT_EQ(block(of(stem).gradient).last, time.backward(stem));

  EXPECT_FALSE(of(both).input_gradients[1].add) << "the last reader of the sum writes";
  EXPECT_TRUE(of(scaled).input_gradients[0].add);
  EXPECT_EQ(of(scaled).input_gradients[0].place, of(scaled).gradient) << "added from where it is";
  EXPECT_NE(of(scaled).input_gradients[1].place, of(scaled).gradient) << "scaled: other numbers";
}

// What reads an image first need not be who reads it alone.
TEST(MemoryPlan, NothingInPlaceWhereOthersRead) {
  GraphBuilder net("net", "", 4, 4, 2);
  const NodeId pool = net.max_pool(net.input(), "pool");
  const NodeId flat = net.flatten(pool, "flat");
  const NodeId relu = net.relu(flat, "relu");
  const NodeId drop = net.dropout(net.global_average_pool(pool, "mean"), "drop", 0.5F);
  const NodeId clamp = net.dropout(net.relu6(net.dense(drop, "dense", 3), "clamp"), "drop2", 0.5F);
  net.dense(net.concat({relu, clamp}, "both"), "logits", 2);
  const Graph graph = std::move(net).finish();
  const auto of = [](const MemoryPlan& plan, NodeId id) { return plan.nodes[static_cast<std::size_t>(id)]; };
  for (const bool training : {false, true}) {
    const MemoryPlan plan = plan_of(graph, 2, training, kPlain);
    EXPECT_EQ(of(plan, flat).value, of(plan, pool).value) << "a view";
    EXPECT_NE(of(plan, relu).value, of(plan, flat).value);
    EXPECT_EQ(of(plan, drop).value, of(plan, drop - 1).value);
    EXPECT_EQ(of(plan, clamp).value == of(plan, clamp - 1).value, !training) << "dropout would lift values above 6";
  }
}

TEST(MemoryPlan, KeepsTheOutputOfAFusedActivation) {
  const Graph graph = fuse_activation(make_network("lenet5"));
  const MemoryPlan plan = plan_of(graph, 1, true);
  const Timeline time{static_cast<int>(graph.nodes.size())};
  ASSERT_EQ(graph.nodes[1].name, "conv1");
  EXPECT_EQ(plan.blocks[static_cast<std::size_t>(plan.nodes[1].value.block)].last, time.backward(1));
}

// A dense layer: its output and what it read are ranges of one block, and so are their gradients.
TEST(MemoryPlan, PartsOfConcatenations) {
  GraphBuilder net("net", "", 8, 8, 3);
  const NodeId stem = net.conv2d(net.input(), "stem", 6, 1, {});
  const NodeId norm = net.batch_norm(stem, "norm");
  const NodeId first = net.conv2d(norm, "first", 2, 3, {.padding = Padding::same});
  const NodeId wide = net.concat({stem, first}, "wide");
  const NodeId pool = net.max_pool(wide, "pool", 3, 1, Padding::same);
  const NodeId wider = net.concat({wide, pool, net.input()}, "wider");
  net.dense(net.global_average_pool(wider, "mean"), "logits", 3);
  const Graph graph = std::move(net).finish();
  const MemoryPlan plan = plan_of(graph, 2, true, {.producer_statistics = true, .normalise_on_read = false});
  const auto of = [&](NodeId id) { return plan.nodes[static_cast<std::size_t>(id)]; };
  const auto block = [&](const Place& place) { return plan.blocks[static_cast<std::size_t>(place.block)]; };
  const Timeline time{static_cast<int>(graph.nodes.size())};

  const int whole = of(wider).value.block;
  EXPECT_EQ(of(wider).value, (Place{whole}));
  EXPECT_EQ(of(stem).value, (Place{whole, 0, 19}));
  EXPECT_EQ(of(first).value, (Place{whole, 6, 19}));
  EXPECT_EQ(of(wide).value, (Place{whole, 0, 19}));
  EXPECT_EQ(of(pool).value, (Place{whole, 8, 19}));
  EXPECT_NE(of(0).value.block, whole) << "images arrive dense";
  EXPECT_EQ(block(of(wider).value).bytes, 4 * 2 * 8 * 8 * 19);
  EXPECT_EQ(block(of(wider).value).first, time.forward(stem));

  const int gradient = of(wider).gradient.block;
  EXPECT_EQ(of(pool).gradient, (Place{gradient, 8, 19}));
  EXPECT_EQ(of(wide).gradient, (Place{gradient, 0, 19}));
  EXPECT_EQ(of(first).gradient, (Place{gradient, 6, 19}));
  EXPECT_EQ(of(stem).gradient, (Place{gradient, 0, 19}));
  EXPECT_TRUE(of(pool).input_gradients[0].add) << "to the front of the same tensor";
  EXPECT_NE(of(pool).input_gradients[0].place.block, gradient);
  EXPECT_EQ(block(of(wider).gradient).last, time.backward(stem));

  const MemoryPlan copying = plan_of(graph, 2, true, {.concat_in_place = false});
  EXPECT_NE(copying.nodes[static_cast<std::size_t>(stem)].value.block,
            copying.nodes[static_cast<std::size_t>(wide)].value.block);
}

// conv -> norm -> conv 3x3: the norm's value lives twice, briefly.
TEST(MemoryPlan, RecomputedValues) {
  GraphBuilder net("net", "", 8, 8, 3);
  const NodeId stem = net.conv2d(net.input(), "stem", 6, 1, {});
  const NodeId norm = net.batch_norm(stem, "norm");
  const NodeId conv = net.conv2d(norm, "conv", 2, 3, {});
  const NodeId later = net.conv2d(conv, "later", 2, 3, {});
  net.dense(net.global_average_pool(later, "mean"), "logits", 3);
  const Graph graph = std::move(net).finish();
  Schedule schedule = make_schedule(graph, true, {.recompute = false});
  schedule.at(norm).recomputed = true;
  const MemoryPlan plan = plan_memory(schedule, 2);
  const Timeline time{static_cast<int>(graph.nodes.size())};
  const NodeBlocks& blocks = plan.nodes[static_cast<std::size_t>(norm)];
  const Block value = plan.blocks[static_cast<std::size_t>(blocks.value.block)];
  const Block again = plan.blocks[static_cast<std::size_t>(blocks.again.block)];
  EXPECT_EQ(value.last, time.forward(conv));
  EXPECT_EQ(again.first, time.backward(conv));
  EXPECT_EQ(again.last, time.backward(conv));
  EXPECT_EQ(plan.nodes[static_cast<std::size_t>(conv)].recomputes, (std::vector<NodeId>{norm}));
  EXPECT_FALSE(plan.nodes[static_cast<std::size_t>(later)].again);
}

// Two residual blocks: the second sum is computed again from the first, which lives on for its own readers.
TEST(MemoryPlan, RecomputedChain) {
  GraphBuilder net("net", "", 8, 8, 3);
  std::vector<NodeId> convs, sums{net.conv2d(net.input(), "stem", 4, 1, {.bias = false})};
  sums[0] = net.batch_norm(sums[0], "norm");
  for (int i = 0; i < 3; ++i) {
    const std::string name = "conv" + std::to_string(i);
    convs.push_back(net.conv2d(sums.back(), name, 4, 1, {.bias = false}));
    sums.push_back(net.add(sums.back(), net.batch_norm(convs.back(), name + "_norm"), "sum" + std::to_string(i)));
  }
  net.dense(net.global_average_pool(sums.back(), "mean"), "logits", 3);
  const Graph graph = std::move(net).finish();
  Schedule schedule = make_schedule(graph, true, {.recompute = false});
  EXPECT_EQ(recomputable(schedule), (std::vector<NodeId>{sums[1], sums[2]}));
  for (const NodeId sum : recomputable(schedule)) schedule.at(sum).recomputed = true;
  const MemoryPlan plan = plan_memory(schedule, 2);
  const Timeline time{static_cast<int>(graph.nodes.size())};
  const auto blocks = [&](NodeId id) { return plan.nodes[static_cast<std::size_t>(id)]; };
  EXPECT_EQ(blocks(convs[2]).recomputes, (std::vector<NodeId>{sums[1], sums[2]}));
  EXPECT_TRUE(blocks(convs[1]).recomputes.empty());
  const Block again = plan.blocks[static_cast<std::size_t>(blocks(sums[1]).again.block)];
  EXPECT_EQ(again.first, time.backward(convs[2]));
  EXPECT_EQ(again.last, time.backward(convs[1]));
  EXPECT_EQ(peak_bytes(schedule, 2), lower_bound(plan.blocks));
}

}  // namespace
}  // namespace brigade::network
