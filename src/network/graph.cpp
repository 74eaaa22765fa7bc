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

// Kernel, stride and padding of a convolution or pooling of `image`.
template <class Operation>
void set_window(Operation& op, const std::string& layer, const Window& kernel, int stride, const Padding& padding,
                const Shape& image) {
  require_extent("the window", layer, kernel.height);
  require_extent("the window", layer, kernel.width);
  require_extent("the stride", layer, stride);
  op.kernel_h = kernel.height;
  op.kernel_w = kernel.width;
  op.stride_h = op.stride_w = stride;
  op.pad_top = padding.top;
  op.pad_left = padding.left;
  op.pad_bottom = padding.bottom;
  op.pad_right = padding.right;
  if (padding.same_extent && image.rank() == 4) {  // of another rank: the shape rule will say so
    ops::Conv2d same{.kernel_h = op.kernel_h, .kernel_w = op.kernel_w, .stride_h = stride, .stride_w = stride};
    same = ops::with_same_padding(same, image[1], image[2]);
    op.pad_top = same.pad_top;
    op.pad_left = same.pad_left;
    op.pad_bottom = same.pad_bottom;
    op.pad_right = same.pad_right;
  }
}

}  // namespace

std::string operation_name(const Node& node) {
  return std::visit(
      Overloaded{
          [](const Input&) { return "input"; }, [](const Flatten&) { return "flatten"; },
          [](const Scale&) { return "scale"; }, [](const ops::Conv2d&) { return "conv2d"; },
          [](const ops::DepthwiseConv2d&) { return "depthwise_conv2d"; }, [](const ops::Dense&) { return "dense"; },
          [](const ops::Relu& relu) { return relu.max == 6 ? "relu6" : "relu"; },
          [](const ops::MaxPool&) { return "max_pool"; }, [](const ops::AveragePool&) { return "average_pool"; },
          [](const ops::GlobalAveragePool&) { return "global_average_pool"; }, [](const ops::Add&) { return "add"; },
          [](const ops::Concat&) { return "concat"; }, [](const ops::BatchNorm&) { return "batch_norm"; },
          [](const ops::LocalResponseNorm&) { return "local_response_norm"; },
          [](const ops::Dropout&) { return "dropout"; }},
      node.operation);
}

double forward_flops(const Graph& graph, const Node& node) {
  if (node.inputs.empty()) return 0;
  const Shape& x = graph.nodes[static_cast<std::size_t>(node.inputs.front())].output;
  return std::visit(
      Overloaded{[&](const ops::Conv2d& conv) { return conv.flops(x); },
                 [&](const ops::DepthwiseConv2d& conv) { return conv.flops(x); },
                 [&](const ops::Dense& dense) { return dense.flops(x); }, [](const auto&) { return 0.0; }},
      node.operation);
}

std::vector<int> count_users(const Graph& graph) {
  std::vector<int> users(graph.nodes.size(), 0);
  for (const Node& node : graph.nodes)
    for (const NodeId input : node.inputs) ++users[static_cast<std::size_t>(input)];
  return users;
}

GraphBuilder::GraphBuilder(std::string name, std::string citation, std::int64_t height, std::int64_t width,
                           std::int64_t channels) {
  graph_.name = std::move(name);
  graph_.citation = std::move(citation);
  require_extent("the image height", graph_.name, height);
  require_extent("the image width", graph_.name, width);
  require_extent("the number of image channels", graph_.name, channels);
  graph_.nodes.push_back({.name = "input", .operation = Input{}, .inputs = {}, .output = {1, height, width, channels}});
}

NodeId GraphBuilder::append(std::string name, const Operation& operation, std::vector<NodeId> inputs,
                            const Shape& output) {
  for (const Node& node : graph_.nodes)
    require<OptionError>(node.name != name, "{} has two layers named {} (parameters are stored by name). Rename one?",
                         graph_.name, name);
  graph_.nodes.push_back(
      {.name = std::move(name), .operation = operation, .inputs = std::move(inputs), .output = output});
  return static_cast<NodeId>(graph_.nodes.size()) - 1;
}

NodeId GraphBuilder::conv2d(NodeId x, std::string name, std::int64_t filters, Window kernel,
                            const ConvOptions& options) {
  require_extent("the number of filters", name, filters);
  ops::Conv2d conv{.in_channels = output(x).back(), .out_channels = filters, .groups = options.groups};
  set_window(conv, name, kernel, options.stride, options.padding, output(x));
  const Shape out = infer_shape(graph_, name, [&] { return conv.output_shape(output(x)); });
  const NodeId node = append(std::move(name), conv, {x}, out);
  graph_.nodes.back().bias = options.bias;
  return node;
}

NodeId GraphBuilder::depthwise_conv2d(NodeId x, std::string name, Window kernel, const ConvOptions& options) {
  ops::DepthwiseConv2d conv{.channels = output(x).back()};
  set_window(conv, name, kernel, options.stride, options.padding, output(x));
  const Shape out = infer_shape(graph_, name, [&] { return conv.output_shape(output(x)); });
  const NodeId node = append(std::move(name), conv, {x}, out);
  graph_.nodes.back().bias = options.bias;
  return node;
}

NodeId GraphBuilder::dense(NodeId x, std::string name, std::int64_t units, const DenseOptions& options) {
  require_extent("the number of units", name, units);
  const ops::Dense dense{.in_features = output(x).sample_size(), .out_features = units};
  const Shape out = infer_shape(graph_, name, [&] { return dense.output_shape(output(x)); });
  const NodeId node = append(std::move(name), dense, {x}, out);
  graph_.nodes.back().bias = options.bias;
  return node;
}

NodeId GraphBuilder::relu(NodeId x, std::string name) { return append(std::move(name), ops::Relu{}, {x}, output(x)); }

NodeId GraphBuilder::relu6(NodeId x, std::string name) {
  return append(std::move(name), ops::Relu{.max = 6}, {x}, output(x));
}

NodeId GraphBuilder::max_pool(NodeId x, std::string name, int kernel, int stride, const Padding& padding) {
  require<OptionError>(kernel <= 16, "the window of {} cannot be {} (the winner's place is kept in one byte)", name,
                       kernel);
  ops::MaxPool pool;
  set_window(pool, name, kernel, stride, padding, output(x));
  const Shape out = infer_shape(graph_, name, [&] { return pool.output_shape(output(x)); });
  return append(std::move(name), pool, {x}, out);
}

NodeId GraphBuilder::average_pool(NodeId x, std::string name, int kernel, int stride, const Padding& padding,
                                  Mean mean) {
  ops::AveragePool pool;
  pool.count_padding = mean == Mean::of_window;
  set_window(pool, name, kernel, stride, padding, output(x));
  const Shape out = infer_shape(graph_, name, [&] { return pool.output_shape(output(x)); });
  return append(std::move(name), pool, {x}, out);
}

NodeId GraphBuilder::global_average_pool(NodeId x, std::string name) {
  const ops::GlobalAveragePool pool;
  const Shape out = infer_shape(graph_, name, [&] { return pool.output_shape(output(x)); });
  return append(std::move(name), pool, {x}, out);
}

NodeId GraphBuilder::add(NodeId a, NodeId b, std::string name, float scale) {
  const ops::Add add{.scale = scale};
  const Shape out = infer_shape(graph_, name, [&] { return add.output_shape(output(a), output(b)); });
  return append(std::move(name), add, {a, b}, out);
}

NodeId GraphBuilder::concat(const std::vector<NodeId>& parts, std::string name) {
  std::vector<Shape> shapes(parts.size());
  std::ranges::transform(parts, shapes.begin(), [&](NodeId part) { return output(part); });
  const ops::Concat concat;
  const Shape out = infer_shape(graph_, name, [&] { return concat.output_shape(shapes); });
  return append(std::move(name), concat, parts, out);
}

NodeId GraphBuilder::batch_norm(NodeId x, std::string name, const BatchNormOptions& options) {
  require<OptionError>(options.epsilon > 0, "the epsilon of {} must be positive, not {}", name, options.epsilon);
  require<OptionError>(options.momentum >= 0 && options.momentum < 1, "the momentum of {} must lie in [0, 1), not {}",
                       name, options.momentum);
  const Shape out = output(x);
  const NodeId node =
      append(std::move(name), ops::BatchNorm{.channels = out.back(), .epsilon = options.epsilon}, {x}, out);
  graph_.nodes.back().scale = options.scale;
  graph_.nodes.back().momentum = options.momentum;
  return node;
}

NodeId GraphBuilder::local_response_norm(NodeId x, std::string name, const ops::LocalResponseNorm& norm) {
  const Shape out = infer_shape(graph_, name, [&] { return norm.output_shape(output(x)); });
  return append(std::move(name), norm, {x}, out);
}

NodeId GraphBuilder::scale(NodeId x, std::string name, float factor) {
  return append(std::move(name), Scale{.factor = factor}, {x}, output(x));
}

NodeId GraphBuilder::dropout(NodeId x, std::string name, float rate) {
  require<OptionError>(rate >= 0 && rate < 1, "the dropout rate of {} must lie in [0, 1), not {}", name, rate);
  return append(std::move(name), ops::Dropout{.rate = rate}, {x}, output(x));
}

NodeId GraphBuilder::flatten(NodeId x, std::string name) {
  return append(std::move(name), Flatten{}, {x}, Shape{1, output(x).sample_size()});
}

// Nodes read earlier nodes only, so the graph is acyclic by construction; here it must have no loose ends.
Graph GraphBuilder::finish() && {
  const std::vector<int> users = count_users(graph_);
  for (std::size_t i = 0; i + 1 < graph_.nodes.size(); ++i)
    require<OptionError>(users[i] > 0, "layer {} of {} is read by no other (only the last may be, the class scores)",
                         graph_.nodes[i].name, graph_.name);
  require<OptionError>(graph_.nodes.back().output.rank() == 2,
                       "{} ends in a tensor {} (class scores [N, classes] are needed). Add flatten and dense?",
                       graph_.name, to_string(graph_.nodes.back().output));
  return std::move(graph_);
}

}  // namespace brigade::network
