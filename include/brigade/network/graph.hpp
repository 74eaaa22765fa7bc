/// Networks as data: a list of nodes in topological order, each an operation on earlier nodes.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "brigade/core/shape.hpp"
#include "brigade/ops/backend.hpp"

namespace brigade::network {

/// The image; node 0 of every graph.
struct Input {};
/// [N, H, W, C] -> [N, H*W*C]; costs nothing.
struct Flatten {};

using Operation = std::variant<Input, Flatten, ops::Conv2d, ops::Dense, ops::Relu, ops::MaxPool, ops::AveragePool,
                               ops::BatchNorm, ops::Dropout>;

/// Index of a node, and so of the tensor it computes.
using NodeId = int;

struct Node {
  std::string name;  ///< unique, e.g. "conv1"
  Operation operation;
  std::vector<NodeId> inputs;
  bool bias = false;  ///< Conv2d and Dense: has a bias
  Shape output;       ///< for a batch of 1
};

struct Graph {
  std::string name;
  std::string citation;     ///< where the network was published
  std::vector<Node> nodes;  ///< the last node gives the logits [N, classes]

  const Shape& input() const { return nodes.front().output; }
  std::int64_t classes() const { return nodes.back().output.back(); }
};

/// Kind of operation in lower case: "conv2d", "dense", "relu", "max_pool", ...
std::string operation_name(const Node& node);
/// Multiplications and additions of the forward pass of one image (convolutions and dense layers).
double forward_flops(const Graph& graph, const Node& node);

/// Appends nodes, infers their shapes; each call returns the new node. Throws OptionError where a layer does
/// not fit, naming it.
class GraphBuilder {
 public:
  GraphBuilder(std::string name, std::string citation, std::int64_t height, std::int64_t width, std::int64_t channels);

  enum class Padding : std::uint8_t { valid, same };
  struct ConvOptions {
    int stride = 1;
    Padding padding = Padding::valid;
    bool bias = true;
  };

  NodeId input() const { return 0; }
  NodeId conv2d(NodeId x, std::string name, std::int64_t filters, int kernel, const ConvOptions& options);
  NodeId dense(NodeId x, std::string name, std::int64_t units);
  NodeId relu(NodeId x, std::string name);
  NodeId max_pool(NodeId x, std::string name, int kernel = 2, int stride = 2);
  NodeId average_pool(NodeId x, std::string name, int kernel = 2, int stride = 2);
  NodeId batch_norm(NodeId x, std::string name, float epsilon = 1e-3F);
  NodeId dropout(NodeId x, std::string name, float rate);
  NodeId flatten(NodeId x, std::string name = "flatten");

  /// Throws OptionError unless each node feeds exactly one other and the last is [N, classes].
  Graph finish() &&;

 private:
  const Shape& output(NodeId x) const { return graph_.nodes[static_cast<std::size_t>(x)].output; }
  NodeId append(std::string name, Operation operation, NodeId x, bool bias, const Shape& output);
  Graph graph_;
};

}  // namespace brigade::network
