// Graphs are built node by node; each layer's shape is inferred the moment it is appended, so that the
// error names the layer that does not fit.
#include "brigade/network/graph.hpp"

#include <algorithm>
#include <utility>

#include "brigade/core/error.hpp"

namespace brigade::network {
namespace {

constexpr std::int64_t kMaxExtent = 1 << 16;  // of images, filters and units: a slip of the keyboard, not a network

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

void require_extent(const char* what, const std::string& owner, std::int64_t extent) {
  require<OptionError>(extent >= 1 && extent <= kMaxExtent, "{} of {} cannot be {} (1 to {} is possible)", what, owner,
                       extent, kMaxExtent);
}

// Applies a layer's shape rule; an error gets the layer's name.
template <class Rule>
Shape infer_shape(const Graph& graph, const std::string& layer, Rule rule) {
  try {
    return rule();
  } catch (const OptionError& error) {
    throw OptionError(fmt::format("layer {} of {}: {}", layer, graph.name, error.what()));
  }
}

}  // namespace

std::string operation_name(const Node& node) {
  return std::visit(
      Overloaded{[](const Input&) { return "input"; }, [](const Flatten&) { return "flatten"; },
                 [](const ops::Conv2d&) { return "conv2d"; }, [](const ops::Dense&) { return "dense"; },
                 [](const ops::Relu&) { return "relu"; }, [](const ops::MaxPool&) { return "max_pool"; },
                 [](const ops::AveragePool&) { return "average_pool"; },
                 [](const ops::BatchNorm&) { return "batch_norm"; }, [](const ops::Dropout&) { return "dropout"; }},
      node.operation);
}

double forward_flops(const Graph& graph, const Node& node) {
  if (node.inputs.empty()) return 0;
  const Shape& x = graph.nodes[static_cast<std::size_t>(node.inputs.front())].output;
  return std::visit(
      Overloaded{[&](const ops::Conv2d& conv) { return conv.flops(x); },
                 [&](const ops::Dense& dense) { return dense.flops(x); }, [](const auto&) { return 0.0; }},
      node.operation);
}

GraphBuilder::GraphBuilder(std::string name, std::string citation, std::int64_t height, std::int64_t width,
                           std::int64_t channels) {
  graph_.name = std::move(name);
  graph_.citation = std::move(citation);
  require_extent("the image height", graph_.name, height);
  require_extent("the image width", graph_.name, width);
  require_extent("the number of image channels", graph_.name, channels);
  graph_.nodes.push_back(
      {.name = "input", .operation = Input{}, .inputs = {}, .bias = false, .output = {1, height, width, channels}});
}

NodeId GraphBuilder::append(std::string name, Operation operation, NodeId x, bool bias, const Shape& output) {
  for (const Node& node : graph_.nodes)
    require<OptionError>(node.name != name, "{} has two layers named {} (parameters are stored by name). Rename one?",
                         graph_.name, name);
  graph_.nodes.push_back(
      {.name = std::move(name), .operation = operation, .inputs = {x}, .bias = bias, .output = output});
  return static_cast<NodeId>(graph_.nodes.size()) - 1;
}

NodeId GraphBuilder::conv2d(NodeId x, std::string name, std::int64_t filters, int kernel, const ConvOptions& options) {
  require_extent("the number of filters", name, filters);
  require_extent("the kernel", name, kernel);
  require_extent("the stride", name, options.stride);
  const Shape& in = output(x);
  ops::Conv2d conv{.in_channels = in.back(),
                   .out_channels = filters,
                   .kernel_h = kernel,
                   .kernel_w = kernel,
                   .stride_h = options.stride,
                   .stride_w = options.stride};
  if (options.padding == Padding::same) conv = with_same_padding(conv, in[1], in[2]);
  const Shape out = infer_shape(graph_, name, [&] { return conv.output_shape(in); });
  return append(std::move(name), conv, x, options.bias, out);
}

NodeId GraphBuilder::dense(NodeId x, std::string name, std::int64_t units) {
  require_extent("the number of units", name, units);
  const Shape& in = output(x);
  const ops::Dense dense{.in_features = in.sample_size(), .out_features = units};
  const Shape out = infer_shape(graph_, name, [&] { return dense.output_shape(in); });
  return append(std::move(name), dense, x, true, out);
}

NodeId GraphBuilder::relu(NodeId x, std::string name) {
  return append(std::move(name), ops::Relu{}, x, false, output(x));
}

NodeId GraphBuilder::max_pool(NodeId x, std::string name, int kernel, int stride) {
  require_extent("the window", name, kernel);
  require_extent("the stride", name, stride);
  require<OptionError>(kernel <= 16, "the window of {} cannot be {} (the winner's place is kept in one byte)", name,
                       kernel);
  ops::MaxPool pool;
  pool.kernel_h = pool.kernel_w = kernel;
  pool.stride_h = pool.stride_w = stride;
  const Shape out = infer_shape(graph_, name, [&] { return pool.output_shape(output(x)); });
  return append(std::move(name), pool, x, false, out);
}

NodeId GraphBuilder::average_pool(NodeId x, std::string name, int kernel, int stride) {
  require_extent("the window", name, kernel);
  require_extent("the stride", name, stride);
  ops::AveragePool pool;
  pool.kernel_h = pool.kernel_w = kernel;
  pool.stride_h = pool.stride_w = stride;
  const Shape out = infer_shape(graph_, name, [&] { return pool.output_shape(output(x)); });
  return append(std::move(name), pool, x, false, out);
}

NodeId GraphBuilder::batch_norm(NodeId x, std::string name, float epsilon) {
  require<OptionError>(epsilon > 0, "the epsilon of {} must be positive, not {}", name, epsilon);
  const Shape& out = output(x);
  return append(std::move(name), ops::BatchNorm{.channels = out.back(), .epsilon = epsilon}, x, false, out);
}

NodeId GraphBuilder::dropout(NodeId x, std::string name, float rate) {
  require<OptionError>(rate >= 0 && rate < 1, "the dropout rate of {} must lie in [0, 1), not {}", name, rate);
  return append(std::move(name), ops::Dropout{.rate = rate}, x, false, output(x));
}

NodeId GraphBuilder::flatten(NodeId x, std::string name) {
  return append(std::move(name), Flatten{}, x, false, Shape{1, output(x).sample_size()});
}

// Every operation has one input, so a graph without loose ends is a chain from the image to the logits.
Graph GraphBuilder::finish() && {
  for (std::size_t i = 0; i + 1 < graph_.nodes.size(); ++i) {
    const auto reads = [&](const Node& node) { return std::ranges::count(node.inputs, static_cast<NodeId>(i)); };
    std::ptrdiff_t users = 0;
    for (const Node& node : graph_.nodes) users += reads(node);
    require<OptionError>(users == 1, "layer {} of {} is read by {} layers (each must feed exactly one)",
                         graph_.nodes[i].name, graph_.name, users);
  }
  require<OptionError>(graph_.nodes.back().output.rank() == 2,
                       "{} ends in a tensor {} (class scores [N, classes] are needed). Add flatten and dense?",
                       graph_.name, to_string(graph_.nodes.back().output));
  return std::move(graph_);
}

}  // namespace brigade::network
