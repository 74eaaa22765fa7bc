// Densely connected networks: Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks",
// CVPR 2017, table 1, growth rate k = 32, as in Keras (no bias before batch norm, epsilon 1.001e-5, momentum
// of its running averages 0.99). Norm-ReLU-conv is meant wherever a convolution is named, but for the first.
//
//     224x224x3   conv 7x7 64 stride 2, batch norm, ReLU, max-pool 3x3 stride 2
//     56x56       dense block       densenet121:  6     densenet169:  6     densenet201:  6   layers
//     56x56       transition
//     28x28       dense block                    12                  12                  12
//     28x28       transition
//     14x14       dense block                    24                  32                  48
//     14x14       transition
//     7x7         dense block                    16                  32                  32
//                 batch norm, ReLU, global average pool, dense 1000
//
// layer:        conv 1x1 4k, conv 3x3 k, concatenated with what the layer read
// transition:   conv 1x1 to half the channels, average-pool 2x2
#include <array>

#include "networks.hpp"

namespace brigade::network {
namespace {

constexpr int kGrowth = 32;

class DenseNet {
 public:
  DenseNet(const char* name, const NetworkOptions& options)
      : net_(name, "Huang, Liu, van der Maaten, Weinberger, CVPR 2017, table 1", or_usual(options.height, 224),
             or_usual(options.width, 224), or_usual(options.channels, 3)),
        classes_(or_usual(options.classes, 1000)) {}

  Graph make(const std::array<int, 4>& layers) &&;

 private:
  NodeId norm_relu(NodeId x, const std::string& name) {
    return net_.relu(net_.batch_norm(x, name + "_bn", {.epsilon = 1.001e-5F, .momentum = 0.99F}), name + "_relu");
  }
  NodeId norm_relu_conv(NodeId x, const std::string& name, std::int64_t filters, int kernel) {
    return net_.conv2d(norm_relu(x, name), name + "_conv", filters, kernel, {.padding = Padding::same, .bias = false});
  }
  NodeId layer(NodeId x, const std::string& name) {
    NodeId y = norm_relu_conv(x, name + "_1", 4 * kGrowth, 1);
    y = norm_relu_conv(y, name + "_2", kGrowth, 3);
    return net_.concat({x, y}, name + "_concat");
  }
  NodeId transition(NodeId x, const std::string& name) {
    x = norm_relu_conv(x, name, net_.output(x).back() / 2, 1);
    return net_.average_pool(x, name + "_pool");
  }

  GraphBuilder net_;
  std::int64_t classes_;
};

Graph DenseNet::make(const std::array<int, 4>& layers) && {
  NodeId x = net_.conv2d(net_.input(), "conv1_conv", 64, 7, {.stride = 2, .padding = Padding::all(3), .bias = false});
  x = norm_relu(x, "conv1");
  x = net_.max_pool(x, "pool1", 3, 2, Padding::all(1));
  for (int block = 0; block < 4; ++block) {
    const std::string number = std::to_string(block + 2);
    for (int i = 1; i <= layers[static_cast<std::size_t>(block)]; ++i)
      x = layer(x, "conv" + number + "_block" + std::to_string(i));
    if (block < 3) x = transition(x, "pool" + number);
  }
  x = norm_relu(x, "final");
  x = net_.global_average_pool(x, "avg_pool");
  net_.dense(x, "predictions", classes_);
  return std::move(net_).finish();
}

}  // namespace

Graph densenet121(const NetworkOptions& options) { return DenseNet("densenet121", options).make({6, 12, 24, 16}); }
Graph densenet169(const NetworkOptions& options) { return DenseNet("densenet169", options).make({6, 12, 32, 32}); }
Graph densenet201(const NetworkOptions& options) { return DenseNet("densenet201", options).make({6, 12, 48, 32}); }

}  // namespace brigade::network
