#include "../src/network/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "../src/network/memory_plan.hpp"
#include "brigade/core/error.hpp"
#include "brigade/network/zoo.hpp"

namespace brigade::network {
namespace {

Passes only(const char* name) {
  Passes passes;
  for (const PassName& pass : pass_names()) passes.*pass.enabled = pass.name == name;
  return passes;
}

// Names of the nodes of which `what` is true.
template <class What>
std::vector<std::string> names(const Schedule& schedule, const What& what) {
  std::vector<std::string> all;
  for (NodeId id = 0; id < schedule.end(); ++id)
    if (what(schedule.at(id))) all.push_back(schedule.node(id).name);
  return all;
}

using Names = std::vector<std::string>;

// conv1 -> norm1 -> conv2 3x3 -> norm2 -> sum with conv1 -> conv3 1x1 -> norm3 -> logits
Graph residual() {
  GraphBuilder net("residual", "", 8, 8, 3);
  const NodeId conv1 = net.conv2d(net.input(), "conv1", 4, 1, {});
  const NodeId norm1 = net.relu(net.batch_norm(conv1, "norm1"), "relu1");
  const NodeId conv2 = net.conv2d(norm1, "conv2", 4, 3, {.padding = Padding::same, .bias = false});
  const NodeId sum = net.add(conv1, net.batch_norm(conv2, "norm2"), "sum");
  const NodeId conv3 = net.depthwise_conv2d(net.batch_norm(sum, "norm3"), "conv3", 3, {.bias = false});
  const NodeId norm4 = net.relu6(net.batch_norm(conv3, "norm4", {.scale = false}), "relu4");
  net.dense(net.global_average_pool(norm4, "mean"), "logits", 2);
  return std::move(net).finish();
}

TEST(Passes, AreKnownByName) {
  Passes passes;
  disable(passes, "concat-in-place");
  EXPECT_FALSE(passes.concat_in_place);
  EXPECT_TRUE(passes.in_place);
  EXPECT_THROW(disable(passes, "concat"), OptionError);
}

TEST(StoreBf16, AllButTheScores) {
  const auto is_float = [](const Treatment& t) { return t.type == DType::f32; };
  EXPECT_EQ(names(make_schedule(residual(), true, {}, Precision::bf16), is_float), (Names{"logits"}));
  EXPECT_EQ(names(make_schedule(make_network("resnet9"), true, {}, Precision::bf16), is_float),
            (Names{"logits", "scale"}));
  EXPECT_EQ(names(make_schedule(residual(), true, {}), is_float).size(), residual().nodes.size() - 2) << "two fused";
  GraphBuilder net("means", "", 4, 4, 3);
  net.global_average_pool(net.input(), "mean");
  try {
    make_schedule(std::move(net).finish(), false, {}, Precision::bf16);
    FAIL() << "scores in bf16";
  } catch (const OptionError& error) {
    EXPECT_NE(std::string(error.what()).find("come from a global_average_pool"), std::string::npos) << error.what();
  }
}

TEST(FoldBatchNorm, WhereItAloneReadsAProduct) {
  Passes passes = only("fold-batch-norm");
  passes.fuse_activation = true;
  const Schedule schedule = make_schedule(residual(), false, passes);
  EXPECT_EQ(names(schedule, [](const Treatment&) { return true; }),
            (Names{"input", "conv1", "norm1", "conv2", "sum", "norm3", "conv3", "mean", "logits"}))
      << "conv1 has another reader, sum is no product";
  ASSERT_EQ(schedule.folds.size(), 2U);
  EXPECT_EQ(schedule.folds[0].norm.name, "norm2");
  EXPECT_EQ(schedule.node(schedule.folds[0].product).name, "conv2");
  EXPECT_EQ(schedule.folds[1].norm.name, "norm4");
  EXPECT_EQ(std::get<ops::DepthwiseConv2d>(schedule.node(schedule.folds[1].product).operation).activation,
            ops::Activation::relu6);
  EXPECT_EQ(schedule.folds[0].bias, 3 * 3 * 4 * 4);
  EXPECT_EQ(schedule.folds[1].kernel, schedule.folds[0].bias + 4);
  EXPECT_EQ(schedule.folded_count, 3 * 3 * 4 * 4 + 4 + 3 * 3 * 4 + 4);
  EXPECT_EQ(schedule.node(4).inputs, (std::vector<NodeId>{1, 3}));
  EXPECT_TRUE(make_schedule(residual(), true, passes).folds.empty()) << "training needs the statistics of the batch";
}

TEST(NormaliseOnRead, WhereAllReadersCan) {
  Passes passes = only("normalise-on-read");
  passes.fuse_activation = true;
  const Schedule schedule = make_schedule(residual(), true, passes);
  EXPECT_EQ(names(schedule, [](const Treatment& t) { return t.normalised_on_read; }), (Names{"norm2", "norm3"}))
      << "a convolution 3x3 and a mean cannot";
  EXPECT_EQ(schedule.node(schedule.stored(4)).name, "conv2");
  EXPECT_EQ(schedule.stored(3), 3);
}

TEST(ProducerStatistics, FromConvolutionsAndOncePerPart) {
  const Schedule schedule = make_schedule(residual(), true, only("producer-statistics"));
  EXPECT_EQ(names(schedule, [](const Treatment& t) { return t.stores_statistics; }),
            (Names{"conv1", "conv2", "conv3"}));
  EXPECT_EQ(names(schedule, [](const Treatment& t) { return !t.measures.empty(); }), (Names{"norm3"}));

  // Four dense blocks: what is measured by batch norms is what pooling wrote in front of each.
  Passes passes = only("producer-statistics");
  passes.concat_in_place = passes.fuse_activation = true;
  const Schedule dense = make_schedule(make_network("densenet121"), true, passes);
  std::vector<std::string> measured;
  for (const Treatment& t : dense.nodes)
    for (const NodeId x : t.measures) measured.push_back(dense.node(x).name);
  EXPECT_EQ(measured, (Names{"pool1", "pool2_pool", "pool3_pool", "pool4_pool"}));

  for (NodeId id = 0; id < schedule.end(); ++id) {
    const Schedule off = make_schedule(residual(), true, only("in-place"));
    const bool norm = std::holds_alternative<ops::BatchNorm>(off.node(id).operation);
    EXPECT_EQ(off.at(id).measures, norm ? off.node(id).inputs : std::vector<NodeId>{});
  }
}

TEST(GradientThrough, ConvolutionsThatAloneReadANorm) {
  Passes passes = only("gradient-through");
  passes.fuse_activation = true;
  const Schedule schedule = make_schedule(residual(), true, passes);
  EXPECT_EQ(names(schedule, [](const Treatment& t) { return t.gradient_through; }), Names{"norm1"})
      << "sums, means and depthwise convolutions read the others";
  EXPECT_EQ(names(schedule, [](const Treatment& t) { return t.centred; }), Names{"conv1"});
  EXPECT_EQ(schedule.taken_through(3), 2);
  EXPECT_EQ(schedule.taken_through(5), -1);
}

// resnet50: sums are read by a convolution and by the next sum (those at the end of a stage by two convolutions with
// stride 2), and the norms before them are spared a pass. A mean reads the last.
TEST(SharedGradient, OfSumsBetweenResidualBlocks) {
  Passes passes = only("gradient-through");
  passes.fuse_activation = true;
  const Schedule resnet = make_schedule(make_network("resnet50"), true, passes);
  Names finished{"pool1"}, given;
  for (const auto& [stage, blocks] : {std::pair{2, 3}, {3, 4}, {4, 6}, {5, 2}}) {
    given.push_back(fmt::format("conv{}_block1_0_bn", stage));
    for (int block = 1; block <= blocks; ++block) {
      finished.push_back(fmt::format("conv{}_block{}_add", stage, block));
      given.push_back(fmt::format("conv{}_block{}_3_bn", stage, block));
    }
  }
  EXPECT_EQ(names(resnet, [](const Treatment& t) { return t.finished_by >= 0; }), finished);
  EXPECT_EQ(names(resnet, [](const Treatment& t) { return t.sums_given; }), given);
  for (NodeId id = 0; id < resnet.end(); ++id)
    if (const NodeId by = resnet.at(id).finished_by; by >= 0) {
      EXPECT_EQ(resnet.finished(by), id);
      EXPECT_EQ(resnet.node(by).inputs, std::vector<NodeId>{id});
    }
  EXPECT_EQ(names(make_schedule(residual(), true, passes), [](const Treatment& t) { return t.finished_by >= 0; }),
            Names{})
      << "no convolution 1x1 reads what others read";
}

TEST(MakeOnRead, SumsByTheNextConvolutionAndGradientsByTheOneBefore) {
  Passes passes = only("make-on-read");
  passes.fuse_activation = passes.gradient_through = true;
  const auto made = [](const Treatment& t) { return t.made_by >= 0 || t.gradient_made; };
  const Schedule resnet = make_schedule(make_network("resnet50"), true, passes);
  Names sums;
  for (const auto& [stage, blocks] : {std::pair{2, 3}, {3, 4}, {4, 6}, {5, 3}})
    for (int block = 1; block < blocks; ++block) sums.push_back(fmt::format("conv{}_block{}_add", stage, block));
  EXPECT_EQ(names(resnet, [](const Treatment& t) { return t.made_by >= 0; }), sums)
      << "convolutions with stride 2 leave most pixels out";
  EXPECT_EQ(names(resnet, [](const Treatment& t) { return t.gradient_made; }),
            names(resnet, [](const Treatment& t) { return t.sums_given; }));
  for (NodeId id = 0; id < resnet.end(); ++id) {
    if (resnet.at(id).made_by >= 0) {
      EXPECT_EQ(resnet.made_sum(id + 1), id);
    }
    if (resnet.at(id).gradient_made) {
      EXPECT_EQ(resnet.made_norm(id - 1), id);
    }
    EXPECT_EQ(resnet.backward_with(id), resnet.at(id).gradient_made ? id - 1 : id);
  }
  EXPECT_EQ(names(make_schedule(make_network("resnet50"), false, passes), made), Names{});
  EXPECT_EQ(names(make_schedule(residual(), true, passes), made), Names{}) << "a norm reads the sum";
  passes.gradient_through = false;
  EXPECT_EQ(names(make_schedule(make_network("resnet50"), true, passes), made), sums) << "no norm has its sums given";
}

TEST(CancelBias, OfProductsThatOnlyNormsRead) {
  const auto cancels = [](const Treatment& t) { return t.bias_cancels; };
  Passes passes = only("cancel-bias");
  EXPECT_EQ(names(make_schedule(residual(), true, passes), cancels), Names{})
      << "a sum reads conv1, the other convolutions have none";
  EXPECT_EQ(names(make_schedule(residual(), false, passes), cancels), Names{});
  EXPECT_EQ(names(make_schedule(make_network("resnet50"), true, passes), cancels).size(), 53U) << "not that of logits";
  GraphBuilder net("clamped", "", 8, 8, 3);
  const NodeId conv = net.conv2d(net.input(), "conv", 4, 1, {});
  const NodeId clamped = net.conv2d(net.batch_norm(conv, "norm1"), "clamped", 4, 1, {});
  net.dense(net.global_average_pool(net.batch_norm(net.relu(clamped, "relu"), "norm2"), "mean"), "logits", 2);
  passes.fuse_activation = true;
  EXPECT_EQ(names(make_schedule(std::move(net).finish(), true, passes), cancels), Names{"conv"})
      << "behind a ReLU a bias is more than a shift";
}

// A dense block of three layers: its norms leave one rest, that of the widest first, and its parts are centred.
TEST(GradientThrough, NormsOverPartsOfAConcatenationShareTheRest) {
  Passes passes = only("gradient-through");
  passes.fuse_activation = passes.concat_in_place = passes.producer_statistics = true;
  const Schedule schedule = make_schedule(make_network("densenet121"), true, passes);
  const Names through = names(schedule, [](const Treatment& t) { return t.gradient_through; });
  EXPECT_EQ(through.size(), 58 * 2 + 3U) << "all but the first and the last";
  const Names alone = names(schedule, [](const Treatment& t) { return t.gradient_through && !t.adds_rest; });
  const auto first = [&](const char* name) { return std::ranges::find(alone, name) != alone.end(); };
  EXPECT_EQ(alone.size(), 58 + 4U) << "those between the convolutions of a layer, and one a block";
  EXPECT_TRUE(first("pool2_bn"));
  EXPECT_FALSE(first("conv2_block6_1_bn"));
  EXPECT_TRUE(first("conv2_block6_2_bn"));
  EXPECT_TRUE(first("conv5_block16_1_bn")) << "no convolution reads the last norm";
  const Names centred = names(schedule, [](const Treatment& t) { return t.centred; });
  EXPECT_EQ(centred.size(), 58 * 2 + 4 - 1U) << "both convolutions of a layer and the beginning of each block";
  EXPECT_EQ(std::ranges::find(centred, "conv5_block16_2_conv"), centred.end());
}

TEST(ConcatInPlace, DenseBlocksAreOneTensor) {
  const Schedule schedule = make_schedule(make_network("densenet121"), true, only("concat-in-place"));
  for (NodeId id = 0; id < schedule.end(); ++id) {
    if (!std::holds_alternative<ops::Concat>(schedule.node(id).operation)) continue;
    const std::vector<NodeId>& parts = schedule.node(id).inputs;
    EXPECT_EQ(schedule.at(parts[0]).part_of, id);
    EXPECT_EQ(schedule.at(parts[0]).first_channel, 0);
    EXPECT_EQ(schedule.at(parts[1]).part_of, id);
    EXPECT_EQ(schedule.at(parts[1]).first_channel, schedule.node(parts[0]).output.back());
  }
}

TEST(ConcatInPlace, CopiesWhatCannotMove) {
  GraphBuilder net("net", "", 4, 4, 2);
  const NodeId conv = net.conv2d(net.input(), "conv", 3, 1, {});
  const NodeId flat_too = net.conv2d(net.input(), "flat_too", 3, 1, {});
  const NodeId first = net.concat({net.input(), conv, flat_too}, "first");
  const NodeId second = net.concat({conv, first, first}, "second");
  const NodeId matrix = net.concat({net.global_average_pool(second, "mean"), net.flatten(flat_too)}, "matrix");
  net.dense(matrix, "logits", 2);
  const Schedule schedule = make_schedule(std::move(net).finish(), true, only("concat-in-place"));
  EXPECT_EQ(names(schedule, [](const Treatment& t) { return t.part_of >= 0; }), (Names{"conv", "first"}));
  EXPECT_EQ(schedule.at(conv).part_of, first) << "its first place";
  EXPECT_EQ(schedule.at(conv).first_channel, 2);
  EXPECT_EQ(schedule.at(first).part_of, second);
  EXPECT_EQ(schedule.at(first).first_channel, 3);
}

TEST(Recompute, NormsAndSums) {
  Passes passes = only("fuse-activation");
  passes.normalise_on_read = true;
  const Schedule schedule = make_schedule(make_network("resnet50"), true, passes);
  Names possible;
  for (const NodeId id : recomputable(schedule)) possible.push_back(schedule.node(id).name);
  const auto count = [&](const char* end) {
    return std::ranges::count_if(possible, [&](const std::string& name) { return name.ends_with(end); });
  };
  EXPECT_EQ(count("1_bn"), 16) << "in front of each convolution 3x3";
  EXPECT_EQ(count("2_bn"), 0);
  EXPECT_EQ(count("_add"), 15) << "all but the last, which no product reads";
  EXPECT_TRUE(names(schedule, [](const Treatment& t) { return t.recomputed; }).empty());
}

std::int64_t peak_with_first(Schedule schedule, const std::vector<NodeId>& values, std::size_t count) {
  for (std::size_t i = 0; i < values.size(); ++i) schedule.at(values[i]).recomputed = i < count;
  return peak_bytes(schedule, 1);
}

std::int64_t bytes_written_twice(const Schedule& schedule, const std::vector<NodeId>& values, std::size_t count) {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i)
    bytes += schedule.node(values[i]).output.size() * static_cast<std::int64_t>(size_of(schedule.at(values[i]).type));
  return bytes;
}

// As few bytes as reach what is enough, or else the least there is.
TEST(Recompute, NoMoreThanBringsSomething) {
  const auto chosen = [](const char* network, Precision precision = Precision::fp32) {
    const Schedule schedule = make_schedule(make_network(network), true, {}, precision);
    const std::vector<NodeId> values = recomputable(schedule);
    std::vector<NodeId> twice;
    std::ranges::copy_if(values, std::back_inserter(twice), [&](NodeId id) { return schedule.at(id).recomputed; });
    const std::int64_t peak = peak_bytes(schedule, 1), enough = enough_bytes(schedule, 1);
    const std::int64_t written = bytes_written_twice(schedule, twice, twice.size());
    EXPECT_LE(peak, std::max(enough, peak_with_first(schedule, values, values.size()))) << network;
    for (std::size_t count = 0; count <= values.size(); ++count) {
      const std::int64_t other = peak_with_first(schedule, values, count);
      EXPECT_TRUE(other > std::max(peak, enough) || bytes_written_twice(schedule, values, count) >= written)
          << network << ": the first " << count;
    }
    return std::pair(twice.size(), values.size());
  };
  const auto [dense, dense_all] = chosen("densenet121");
  EXPECT_GE(dense_all, 58U) << "the norms in front of convolutions 3x3";
  EXPECT_LT(dense, 5U) << "it has little to store";
  const auto [residual, residual_all] = chosen("resnet50");
  EXPECT_GT(residual, 20U);
  EXPECT_LT(residual, residual_all);
  chosen("resnet50", Precision::bf16);
  chosen("mobilenet-v2");
  chosen("wide-resnet-28-10");
}

// All six sums of a stage at once would cost more than one that waits.
TEST(Recompute, LongChainsAreCut) {
  const Schedule schedule = make_schedule(make_network("resnet50"), true, {});
  Names sums;
  for (const std::string& name : names(schedule, [](const Treatment& t) { return t.recomputed; }))
    if (name.starts_with("conv4") && name.ends_with("_add")) sums.push_back(name);
  EXPECT_EQ(sums, (Names{"conv4_block1_add", "conv4_block2_add", "conv4_block3_add", "conv4_block4_add",
                         "conv4_block6_add"}));
  const std::vector<NodeId> values = recomputable(schedule);
  for (std::size_t count = 0; count <= values.size(); ++count)
    EXPECT_LT(peak_bytes(schedule, 1), peak_with_first(schedule, values, count));
}

}  // namespace
}  // namespace brigade::network
