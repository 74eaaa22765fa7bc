/// Networks as data: a list of nodes in topological order, each an operation on earlier nodes.
#pragma once

#include <cstdint>
#include <span>
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
/// factor * x.
struct Scale {
  float factor = 1;
};

using Operation = std::variant<Input, Flatten, Scale, ops::Conv2d, ops::DepthwiseConv2d, ops::Dense, ops::Relu,
                               ops::MaxPool, ops::AveragePool, ops::GlobalAveragePool, ops::Add, ops::Concat,
                               ops::BatchNorm, ops::LocalResponseNorm, ops::Dropout>;

/// Index of a node, and so of the tensor it computes.
using NodeId = int;

struct Node {
  std::string name;  ///< unique, e.g. "conv1"
  Operation operation;
  std::vector<NodeId> inputs;  ///< earlier nodes; a node may be read by several others
  bool bias = false;           ///< convolutions and Dense: has a bias
  bool scale = true;           ///< BatchNorm: learns gamma (else it is 1)
  float momentum = 0;          ///< BatchNorm: weight of the old in its running averages
  Shape output;                ///< for a batch of 1
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
/// By node: how many inputs of other nodes it feeds.
std::vector<int> count_users(const Graph& graph);

/// Zeros around an image (max pooling: values that never win). `same`, as in Keras and TensorFlow: the output extent is
/// the input's divided by the stride, rounded up, and the odd zero goes to the bottom and right.
struct Padding {
  int top = 0, left = 0, bottom = 0, right = 0;
  bool same_extent = false;  ///< computed from the image instead
  static const Padding valid, same;
  static constexpr Padding all(int zeros) { return {zeros, zeros, zeros, zeros}; }
};
inline constexpr Padding Padding::valid{};
inline constexpr Padding Padding::same{.same_extent = true};

/// Extent of a convolution kernel: 3, or {1, 7} for one row of seven.
struct Window {
  int height, width;
  Window(int square) : height(square), width(square) {}  // NOLINT(google-explicit-constructor)
  Window(int h, int w) : height(h), width(w) {}
};

/// Appends nodes, infers their shapes; each call returns the new node. Throws OptionError where a layer does
/// not fit, naming it.
class GraphBuilder {
 public:
  GraphBuilder(std::string name, std::string citation, std::int64_t height, std::int64_t width, std::int64_t channels);

  using Padding = network::Padding;
  struct ConvOptions {
    int stride = 1;
    Padding padding = Padding::valid;
    bool bias = true;
    int groups = 1;  ///< of Conv2d: runs of channels that do not meet
  };
  struct DenseOptions {
    bool bias = true;
  };
  struct BatchNormOptions {  ///< Keras' defaults
    float epsilon = 1e-3F;
    float momentum = 0.99F;  ///< weight of the old in running averages (PyTorch's momentum is that of the new)
    bool scale = true;       ///< learns gamma
  };

  NodeId input() const { return 0; }
  /// The shape of a tensor so far, for a batch of 1.
  const Shape& output(NodeId x) const { return graph_.nodes[static_cast<std::size_t>(x)].output; }

  NodeId conv2d(NodeId x, std::string name, std::int64_t filters, Window kernel, const ConvOptions& options);
  NodeId depthwise_conv2d(NodeId x, std::string name, Window kernel, const ConvOptions& options);
  NodeId dense(NodeId x, std::string name, std::int64_t units, const DenseOptions& options);
  NodeId dense(NodeId x, std::string name, std::int64_t units) { return dense(x, std::move(name), units, {}); }
  NodeId relu(NodeId x, std::string name);
  NodeId relu6(NodeId x, std::string name);  ///< clamped to 0 ... 6
  NodeId max_pool(NodeId x, std::string name, int kernel = 2, int stride = 2, const Padding& padding = Padding::valid);
  /// What the mean divides by where a window hangs over the border.
  enum class Mean : std::uint8_t { of_pixels, of_window };
  NodeId average_pool(NodeId x, std::string name, int kernel = 2, int stride = 2,
                      const Padding& padding = Padding::valid, Mean mean = Mean::of_pixels);
  NodeId global_average_pool(NodeId x, std::string name);
  NodeId add(NodeId a, NodeId b, std::string name, float scale = 1);  ///< a + scale * b
  NodeId concat(const std::vector<NodeId>& parts, std::string name);  ///< along the channels
  NodeId batch_norm(NodeId x, std::string name, const BatchNormOptions& options);
  NodeId batch_norm(NodeId x, std::string name) { return batch_norm(x, std::move(name), {}); }
  NodeId local_response_norm(NodeId x, std::string name, const ops::LocalResponseNorm& norm = {});
  NodeId dropout(NodeId x, std::string name, float rate);
  NodeId scale(NodeId x, std::string name, float factor);
  NodeId flatten(NodeId x, std::string name = "flatten");

  /// Throws OptionError unless each node but the last feeds another and the last is [N, classes].
  Graph finish() &&;

 private:
  NodeId append(std::string name, const Operation& operation, std::vector<NodeId> inputs, const Shape& output);
  Graph graph_;
};

}  // namespace brigade::network
