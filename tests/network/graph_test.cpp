// Builder, shape inference and zoo: shapes and counts computed by hand from the papers' tables.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

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

// Several readers, rectangular kernels, explicit zeros.
TEST(GraphBuilder, GroupsFactorsAndMeans) {
  GraphBuilder net("net", "", 8, 8, 4);
  NodeId x = net.conv2d(net.input(), "conv", 6, 3, {.groups = 2});
  x = net.local_response_norm(x, "norm");
  x = net.average_pool(x, "mean", 3, 3, Padding::all(1), GraphBuilder::Mean::of_window);
  x = net.scale(net.dense(net.flatten(x), "dense", 5), "scale", 0.125F);
  const Graph graph = std::move(net).finish();
  EXPECT_EQ(parameter_count(node_named(graph, "conv")), 3 * 3 * 2 * 6 + 6);
  EXPECT_EQ(forward_flops(graph, node_named(graph, "conv")), 2.0 * 6 * 6 * 6 * 9 * 2);
  EXPECT_EQ(operation_name(node_named(graph, "norm")), "local_response_norm");
  EXPECT_EQ(node_named(graph, "norm").output, Shape({1, 6, 6, 6}));
  EXPECT_TRUE(std::get<ops::AveragePool>(node_named(graph, "mean").operation).count_padding);
  EXPECT_EQ(operation_name(node_named(graph, "scale")), "scale");
  EXPECT_EQ(graph.classes(), 5);

  EXPECT_NE(error_of([] {
              GraphBuilder other("net", "", 8, 8, 4);
              other.conv2d(0, "odd", 6, 3, {.groups = 3});
            }).find("layer odd of net: 4 input and 6 output channels cannot be cut into 3 equal groups"),
            std::string::npos);
}

TEST(GraphBuilder, InfersShapesOfAnAcyclicGraph) {
  GraphBuilder net("net", "", 15, 10, 3);
  const NodeId stem = net.conv2d(net.input(), "stem", 8, 3, {.stride = 2, .padding = Padding{.bottom = 1, .right = 2}});
  const NodeId row = net.conv2d(stem, "row", 8, {1, 5}, {.padding = Padding::same});
  const NodeId sum = net.add(stem, row, "sum", 0.5F);
  const NodeId depthwise = net.depthwise_conv2d(sum, "depthwise", 3, {.stride = 2, .padding = Padding::same});
  const NodeId pool = net.max_pool(net.relu6(sum, "clamp"), "pool", 3, 2, Padding::all(1));
  const NodeId both = net.concat({depthwise, pool, pool}, "both");
  net.dense(net.global_average_pool(both, "mean"), "scores", 7, {.bias = false});
  const Graph graph = std::move(net).finish();

  const std::vector<std::pair<std::string, Shape>> expected = {
      {"input", {1, 15, 10, 3}},  {"conv2d", {1, 7, 5, 8}},           {"conv2d", {1, 7, 5, 8}},
      {"add", {1, 7, 5, 8}},      {"depthwise_conv2d", {1, 4, 3, 8}}, {"relu6", {1, 7, 5, 8}},
      {"max_pool", {1, 4, 3, 8}}, {"concat", {1, 4, 3, 24}},          {"global_average_pool", {1, 24}},
      {"dense", {1, 7}}};
  ASSERT_EQ(graph.nodes.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(operation_name(graph.nodes[i]), expected[i].first) << i;
    EXPECT_EQ(graph.nodes[i].output, expected[i].second) << graph.nodes[i].name;
  }
  EXPECT_EQ(count_users(graph), (std::vector<int>{1, 2, 1, 2, 1, 1, 2, 1, 1, 0}));
  EXPECT_EQ(forward_flops(graph, node_named(graph, "row")), 2.0 * 7 * 5 * 8 * 5 * 8);
  EXPECT_EQ(forward_flops(graph, node_named(graph, "depthwise")), 2.0 * 4 * 3 * 8 * 9);
  EXPECT_EQ(parameter_count(node_named(graph, "depthwise")), 9 * 8 + 8);
  EXPECT_EQ(parameter_count(node_named(graph, "scores")), 24 * 7);
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
  EXPECT_NE(with([](auto& net) { net.batch_norm(0, "norm", {.momentum = -0.1F}); }).find("momentum of norm"),
            std::string::npos);
  EXPECT_NE(with([](auto& net) { net.conv2d(0, "none", 0, 3, {}); }).find("filters of none cannot be 0"),
            std::string::npos);
  EXPECT_NE(with([](auto& net) { net.relu(net.relu(0, "a"), "a"); }).find("two layers named a"), std::string::npos);
  EXPECT_NE(with([](auto& net) { net.relu(0, "a"); }).find("class scores"), std::string::npos);
  EXPECT_NE(with([](auto& net) {
              net.relu(0, "a");
              net.flatten(0);
            }).find("layer a of net is read by no other"),
            std::string::npos);
  EXPECT_NE(with([](auto& net) { net.add(0, net.max_pool(0, "pool"), "sum"); }).find("layer sum of net"),
            std::string::npos);
  EXPECT_NE(with([](auto& net) {
              net.concat({0, net.max_pool(0, "pool")}, "both");
            }).find("layer both of net"),
            std::string::npos);
  EXPECT_NE(with([](auto& net) {
              net.depthwise_conv2d(0, "wide", {1, 7}, {});
            }).find("layer wide of net"),
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

// Parameters and statistics together, as Keras counts them, of the published networks; smallest images in the second
// column (the topology allows no less, or hardly).
TEST(Zoo, PublishedParameterCounts) {
  struct Count {
    std::string name;
    std::int64_t smallest, parameters, statistics;
  };
  const std::vector<Count> counts = {
      // Keras applications.
      {"densenet121", 32, 8'062'504, 83'648},
      {"densenet169", 32, 14'307'880, 158'400},
      {"densenet201", 32, 20'242'984, 229'056},
      {"resnet50", 32, 25'636'712, 53'120},
      {"inception-v3", 75, 23'851'784, 34'432},
      {"inception-resnet-v2", 75, 55'873'736, 60'544},
      {"mobilenet", 32, 4'253'864, 21'888},
      {"mobilenet-v2", 32, 3'538'984, 34'112},
      {"vgg16", 32, 138'357'544, 0},
      // torchvision: 11,689,512 and 21,797,672 learnt values.
      {"resnet18", 32, 11'689'512 + 9'600, 9'600},
      {"resnet34", 32, 21'797'672 + 17'024, 17'024},
      {"alexnet", 64, 60'965'224, 0},  // as Caffe's bvlc_alexnet; the paper says 60 million
      // Learnt values of the authors' programs, 10 classes; Page's has no bias in its last layer either.
      {"resnet9", 32, 6'573'120 + 4'480, 4'480},
      {"wide-resnet-28-10", 8, 36'479'194 + 17'952, 17'952},
  };
  for (const Count& count : counts) {
    SCOPED_TRACE(count.name);
    const Graph graph = make_network(count.name);
    EXPECT_EQ(graph.name, count.name);
    EXPECT_FALSE(graph.citation.empty());
    EXPECT_EQ(parameter_count(graph) + statistics_count(graph), count.parameters);
    EXPECT_EQ(statistics_count(graph), count.statistics);

    const Graph small =
        make_network(count.name, {.height = count.smallest, .width = count.smallest + 3, .channels = 1, .classes = 17});
    EXPECT_EQ(small.input(), Shape({1, count.smallest, count.smallest + 3, 1}));
    EXPECT_EQ(small.classes(), 17);
    EXPECT_EQ(statistics_count(small), count.statistics);
  }
  EXPECT_EQ(zoo().size(), counts.size() + 4) << "the networks of the test before";
  EXPECT_TRUE(std::ranges::is_sorted(zoo(), {}, &ZooEntry::name));
}

// Keras' counts of its published variants.
TEST(Zoo, WidthMultiplier) {
  const auto count = [](const std::string& name, double width) {
    const Graph graph = make_network(name, {.width_multiplier = width});
    return parameter_count(graph) + statistics_count(graph);
  };
  EXPECT_EQ(count("mobilenet", 0.5), 1'342'536);
  EXPECT_EQ(count("mobilenet", 0.25), 475'544);
  EXPECT_EQ(count("mobilenet-v2", 0.5), 1'987'224);
  EXPECT_EQ(count("mobilenet-v2", 1.4), 6'156'712);
  EXPECT_NE(error_of([&] { count("resnet50", 0.5); }).find("no width multiplier"), std::string::npos);
  EXPECT_NE(error_of([&] { count("mobilenet", 0); }).find("cannot be 0"), std::string::npos);
}

TEST(Zoo, TakesImagesClassesAndDropout) {
  const Graph graph =
      make_network("tiny-model1", {.height = 96, .width = 64, .channels = 1, .classes = 5, .dropout = 0.1F});
  EXPECT_EQ(graph.input(), Shape({1, 96, 64, 1}));
  EXPECT_EQ(graph.classes(), 5);
  EXPECT_EQ(std::get<ops::Dropout>(node_named(graph, "dropout1").operation).rate, 0.1F);
}

// Keras' applications, torchvision, and what resnet9 and the wide one were published with (whose momentum, in PyTorch's
// sense, is 0.1); the networks for small datasets have Keras' default.
TEST(Zoo, MomentumOfRunningAverages) {
  const std::map<std::string_view, float> momenta = {
      {"densenet121", 0.99F}, {"densenet169", 0.99F},     {"densenet201", 0.99F},
      {"fashion-cnn", 0.99F}, {"inception-v3", 0.99F},    {"inception-resnet-v2", 0.99F},
      {"mobilenet", 0.99F},   {"mobilenet-v2", 0.999F},   {"resnet18", 0.9F},
      {"resnet34", 0.9F},     {"resnet50", 0.99F},        {"resnet9", 0.9F},
      {"tiny-model2", 0.99F}, {"wide-resnet-28-10", 0.9F}};
  const auto expect_momentum = [](const Graph& graph, float momentum) {
    for (const Node& node : graph.nodes) {
      if (!std::holds_alternative<ops::BatchNorm>(node.operation)) continue;
      EXPECT_EQ(node.momentum, momentum) << node.name;
    }
  };
  for (const ZooEntry& entry : zoo()) {
    SCOPED_TRACE(entry.name);
    const Graph graph = make_network(std::string(entry.name));
    const auto published = momenta.find(entry.name);
    ASSERT_EQ(statistics_count(graph) > 0, published != momenta.end());
    if (published == momenta.end()) continue;
    expect_momentum(graph, published->second);
    expect_momentum(make_network(std::string(entry.name), {.batch_norm_momentum = 0.25F}), 0.25F);
  }
}

TEST(Zoo, Errors) {
  EXPECT_NE(error_of([] { make_network("lenet5", {.batch_norm_momentum = 0.5F}); }).find("no batch norm"),
            std::string::npos);
  EXPECT_NE(error_of([] { make_network("resnet9", {.batch_norm_momentum = 1.0F}); }).find("must lie in [0, 1), not 1"),
            std::string::npos);
  EXPECT_EQ(error_of([] {
              make_network("tinymodel2");
            }).find("there is no network 'tinymodel2'. Choose one of: tiny-model2, tiny-model1, lenet5, "),
            0U);
  EXPECT_NE(error_of([] { make_network("lenet5", {.dropout = 0.5F}); }).find("no dropout layer"), std::string::npos);
  EXPECT_NE(error_of([] { make_network("tiny-model1", {.height = 20}); }).find("layer pool3 of tiny-model1"),
            std::string::npos);
  EXPECT_NE(error_of([] { make_network("lenet5", {.classes = -3}); }).find("-3"), std::string::npos);
}

}  // namespace
}  // namespace brigade::network
