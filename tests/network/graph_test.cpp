// Builder, shape inference and zoo: shapes and counts computed by hand from the papers' tables.
#include <gtest/gtest.h>

#include "brigade/core/error.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/network/zoo.hpp"

namespace brigade::network {
namespace {

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const OptionError& error) {
    return error.what();
  }
  return "no error";
}

const Node& node_named(const Graph& graph, const std::string& name) {
  for (const Node& node : graph.nodes)
    if (node.name == name) return node;
  throw std::out_of_range(name);
}

TEST(GraphBuilder, InfersShapes) {
  using Padding = GraphBuilder::Padding;
  GraphBuilder net("net", "", 28, 31, 3);
  NodeId x = net.conv2d(net.input(), "same", 8, 5, {.padding = Padding::same});
  x = net.conv2d(x, "valid", 9, 3, {.bias = false});
  x = net.batch_norm(x, "norm");
  x = net.relu(x, "relu");
  x = net.max_pool(x, "max", 3, 2);
  x = net.conv2d(x, "strided", 10, 3, {.stride = 2, .padding = Padding::same});
  x = net.average_pool(x, "mean");
  x = net.dropout(x, "drop", 0.25F);
  x = net.flatten(x);
  net.dense(x, "scores", 7);
  const Graph graph = std::move(net).finish();

  const std::vector<std::pair<std::string, Shape>> expected = {
      {"input", {1, 28, 31, 3}},  {"conv2d", {1, 28, 31, 8}},
      {"conv2d", {1, 26, 29, 9}}, {"batch_norm", {1, 26, 29, 9}},
      {"relu", {1, 26, 29, 9}},   {"max_pool", {1, 12, 14, 9}},
      {"conv2d", {1, 6, 7, 10}},  {"average_pool", {1, 3, 3, 10}},
      {"dropout", {1, 3, 3, 10}}, {"flatten", {1, 90}},
      {"dense", {1, 7}}};
  ASSERT_EQ(graph.nodes.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(operation_name(graph.nodes[i]), expected[i].first) << i;
    EXPECT_EQ(graph.nodes[i].output, expected[i].second) << graph.nodes[i].name;
  }
  EXPECT_EQ(graph.classes(), 7);
  EXPECT_TRUE(node_named(graph, "same").bias);
  EXPECT_FALSE(node_named(graph, "valid").bias);
  EXPECT_EQ(forward_flops(graph, node_named(graph, "valid")), 2.0 * 26 * 29 * 9 * 3 * 3 * 8);
  EXPECT_EQ(forward_flops(graph, node_named(graph, "scores")), 2.0 * 90 * 7);
  EXPECT_EQ(forward_flops(graph, node_named(graph, "relu")), 0);
}

TEST(GraphBuilder, NamesTheLayerThatDoesNotFit) {
  const auto with = [](const std::function<void(GraphBuilder&)>& layers) {
    return error_of([&] {
      GraphBuilder net("net", "", 6, 6, 1);
      layers(net);
      std::move(net).finish();
    });
  };
  EXPECT_NE(with([](auto& net) { net.conv2d(0, "wide", 1, 7, {}); }).find("layer wide of net"), std::string::npos);
  EXPECT_NE(with([](auto& net) { net.max_pool(0, "pool", 8, 8); }).find("layer pool of net"), std::string::npos);
  EXPECT_NE(with([](auto& net) { net.dense(0, "scores", 2); }).find("layer scores of net"), std::string::npos);
  EXPECT_NE(with([](auto& net) { net.dropout(0, "drop", 1.0F); }).find("rate of drop"), std::string::npos);
  EXPECT_NE(with([](auto& net) { net.conv2d(0, "none", 0, 3, {}); }).find("filters of none cannot be 0"),
            std::string::npos);
  EXPECT_NE(with([](auto& net) { net.relu(net.relu(0, "a"), "a"); }).find("two layers named a"), std::string::npos);
  EXPECT_NE(with([](auto& net) { net.relu(0, "a"); }).find("class scores"), std::string::npos);
  EXPECT_NE(with([](auto& net) {
              net.relu(0, "a");
              net.flatten(0);
            }).find("input of net is read by 2 layers"),
            std::string::npos);
  EXPECT_NE(error_of([] { GraphBuilder("net", "", -1, 6, 1); }).find("height of net cannot be -1"), std::string::npos);
}

// Parameters, sum over layers of kernel + bias; batch norm: gamma and beta, and as many statistics.
TEST(Zoo, ParameterCounts) {
  struct Count {
    std::string name;
    std::int64_t parameters, statistics, classes;
    Shape flattened;
  };
  const std::vector<Count> counts = {
      {"fashion-cnn", 25 * 1 * 32 + 64 + 25 * 32 * 64 + 128 + (3136 * 128 + 128) + (128 * 10 + 10), 192, 10, {1, 3136}},
      {"lenet5",
       (25 * 6 + 6) + (25 * 6 * 16 + 16) + (400 * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10),
       0,
       10,
       {1, 400}},
      {"tiny-model1", 606'088, 0, 200, {1, 512}},
      {"tiny-model2", 1'056'136, 448, 200, {1, 128}},
  };
  ASSERT_EQ(zoo().size(), counts.size());
  for (const Count& count : counts) {
    const Graph graph = make_network(count.name);
    EXPECT_EQ(graph.name, count.name);
    EXPECT_FALSE(graph.citation.empty());
    EXPECT_EQ(parameter_count(graph), count.parameters) << count.name;
    EXPECT_EQ(statistics_count(graph), count.statistics) << count.name;
    EXPECT_EQ(graph.classes(), count.classes) << count.name;
    EXPECT_EQ(node_named(graph, "flatten").output, count.flattened) << count.name;
  }
  EXPECT_EQ(parameter_count(node_named(make_network("lenet5"), "dense2")), 120 * 84 + 84);
}

TEST(Zoo, TakesImagesClassesAndDropout) {
  const Graph graph =
      make_network("tiny-model1", {.height = 96, .width = 64, .channels = 1, .classes = 5, .dropout = 0.1F});
  EXPECT_EQ(graph.input(), Shape({1, 96, 64, 1}));
  EXPECT_EQ(graph.classes(), 5);
  EXPECT_EQ(std::get<ops::Dropout>(node_named(graph, "dropout1").operation).rate, 0.1F);
}

TEST(Zoo, Errors) {
  EXPECT_EQ(error_of([] { make_network("tinymodel2"); }),
            "there is no network 'tinymodel2'. Choose one of: tiny-model2, tiny-model1, lenet5, fashion-cnn?");
  EXPECT_NE(error_of([] { make_network("lenet5", {.dropout = 0.5F}); }).find("no dropout layer"), std::string::npos);
  EXPECT_NE(error_of([] { make_network("tiny-model1", {.height = 20}); }).find("layer pool3 of tiny-model1"),
            std::string::npos);
  EXPECT_NE(error_of([] { make_network("lenet5", {.classes = -3}); }).find("-3"), std::string::npos);
}

}  // namespace
}  // namespace brigade::network
