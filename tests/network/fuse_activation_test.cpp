#include <gtest/gtest.h>

#include "../src/network/schedule.hpp"
#include "brigade/network/zoo.hpp"

namespace brigade::network {
namespace {

std::vector<std::string> names(const Graph& graph) {
  std::vector<std::string> all;
  for (const Node& node : graph.nodes) all.push_back(node.name);
  return all;
}

TEST(FuseActivation, JoinsReluAndItsProducer) {
  const Graph fused = fuse_activation(make_network("fashion-cnn"));
  EXPECT_EQ(names(fused), (std::vector<std::string>{"input", "conv1", "bn1", "pool1", "conv2", "bn2", "pool2",
                                                    "flatten", "dense1", "logits"}));
  for (std::size_t i = 1; i < fused.nodes.size(); ++i)
    EXPECT_EQ(fused.nodes[i].inputs, (std::vector<NodeId>{static_cast<NodeId>(i) - 1}));
  EXPECT_EQ(std::get<ops::Conv2d>(fused.nodes[1].operation).activation, ops::Activation::none);
  EXPECT_EQ(std::get<ops::BatchNorm>(fused.nodes[2].operation).activation, ops::Activation::relu);
  EXPECT_EQ(std::get<ops::Dense>(fused.nodes[8].operation).activation, ops::Activation::relu);
  EXPECT_EQ(std::get<ops::Dense>(fused.nodes[9].operation).activation, ops::Activation::none);
  EXPECT_EQ(names(fuse_activation(fused)), names(fused)) << "a second time changes nothing";
}

TEST(FuseActivation, LeavesOtherReluAlone) {
  GraphBuilder net("net", "", 4, 4, 1);
  NodeId x = net.relu(net.input(), "after_input");
  x = net.conv2d(x, "conv", 2, 1, {});
  x = net.max_pool(x, "pool");
  x = net.relu(x, "after_pool");
  x = net.flatten(x);
  x = net.dense(x, "dense", 3);
  x = net.relu(x, "fused");
  net.relu(x, "second");
  EXPECT_EQ(
      names(fuse_activation(std::move(net).finish())),
      (std::vector<std::string>{"input", "after_input", "conv", "pool", "after_pool", "flatten", "dense", "second"}));
}

TEST(FuseActivation, Relu6AndSums) {
  GraphBuilder net("net", "", 4, 4, 3);
  const NodeId conv = net.relu6(net.depthwise_conv2d(net.input(), "conv", 3, {}), "clamp");
  const NodeId norm = net.batch_norm(conv, "norm");
  const NodeId sum = net.relu(net.add(conv, norm, "sum"), "relu");
  net.dense(net.global_average_pool(net.concat({sum, conv}, "both"), "mean"), "logits", 2);
  const Graph fused = fuse_activation(std::move(net).finish());
  EXPECT_EQ(names(fused), (std::vector<std::string>{"input", "conv", "norm", "sum", "both", "mean", "logits"}));
  EXPECT_EQ(std::get<ops::DepthwiseConv2d>(fused.nodes[1].operation).activation, ops::Activation::relu6);
  EXPECT_EQ(std::get<ops::BatchNorm>(fused.nodes[2].operation).activation, ops::Activation::none);
  EXPECT_EQ(std::get<ops::Add>(fused.nodes[3].operation).activation, ops::Activation::relu);
  EXPECT_EQ(fused.nodes[3].inputs, (std::vector<NodeId>{1, 2}));
  EXPECT_EQ(fused.nodes[4].inputs, (std::vector<NodeId>{3, 1}));
}

TEST(FuseActivation, NotWhereSomebodyElseReadsTheProducer) {
  Graph graph{.name = "fork", .citation = "", .nodes = {}};
  const Shape shape{1, 4};
  graph.nodes.push_back({.name = "input", .operation = Input{}, .inputs = {}, .output = shape});
  graph.nodes.push_back(
      {.name = "dense", .operation = ops::Dense{.in_features = 4, .out_features = 4}, .inputs = {0}, .output = shape});
  graph.nodes.push_back({.name = "relu", .operation = ops::Relu{}, .inputs = {1}, .output = shape});
  graph.nodes.push_back({.name = "drop", .operation = ops::Dropout{}, .inputs = {1}, .output = shape});
  EXPECT_EQ(names(fuse_activation(graph)), names(graph));
}

}  // namespace
}  // namespace brigade::network
