// Residual networks: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, table 1.
// A stage halves the image (but the first) and doubles the filters; where the shape changes, the shortcut is a 1x1
// convolution with batch norm (option B).
//
//     224x224x3   conv 7x7 64 stride 2, batch norm, ReLU, max-pool 3x3 stride 2
//      56x56      stage of blocks of 64        resnet18: 2 basic      resnet34: 3 basic     resnet50: 3 bottleneck
//      28x28      stage of blocks of 128                 2                      4                     4
//      14x14      stage of blocks of 256                 2                      6                     6
//       7x7       stage of blocks of 512                 2                      3                     3
//                 global average pool, dense 1000
//
// basic (filters f):       conv 3x3 f, conv 3x3 f
// bottleneck (filters f):  conv 1x1 f, conv 3x3 f, conv 1x1 4f
//
// resnet50 is Keras' ResNet50 (version 1): the stride is in the first 1x1 convolution, convolutions have biases,
// epsilon is 1.001e-5, the momentum of running averages 0.99. resnet18 and resnet34, which Keras does not have, are
// torchvision's: epsilon 1e-5, momentum 0.9 (PyTorch's default 0.1 is the weight of the new).
#include <array>

#include "networks.hpp"

namespace brigade::network {
namespace {

struct Style {
  bool bias;
  float epsilon, momentum;
};

class ResNet {
 public:
  ResNet(const char* name, const NetworkOptions& options, const Style& style)
      : net_(name, "He, Zhang, Ren, Sun, CVPR 2016, table 1", or_usual(options.height, 224),
             or_usual(options.width, 224), or_usual(options.channels, 3)),
        classes_(or_usual(options.classes, 1000)),
        style_(style) {}

  using Block = NodeId (ResNet::*)(NodeId, const std::string&, int, int);
  Graph make(Block block, const std::array<int, 4>& blocks) &&;

  NodeId basic(NodeId x, const std::string& name, int filters, int stride);
  NodeId bottleneck(NodeId x, const std::string& name, int filters, int stride);

 private:
  NodeId conv_norm(NodeId x, const std::string& name, int filters, int kernel, int stride) {
    x = net_.conv2d(x, name + "_conv", filters, kernel,
                    {.stride = stride, .padding = Padding::all(kernel / 2), .bias = style_.bias});
    return net_.batch_norm(x, name + "_bn", {.epsilon = style_.epsilon, .momentum = style_.momentum});
  }
  NodeId conv_norm_relu(NodeId x, const std::string& name, int filters, int kernel, int stride) {
    return net_.relu(conv_norm(x, name, filters, kernel, stride), name + "_relu");
  }
  NodeId shortcut(NodeId x, const std::string& name, int filters, int stride) {
    const bool same_shape = stride == 1 && net_.output(x).back() == filters;
    return same_shape ? x : conv_norm(x, name + "_0", filters, 1, stride);
  }
  NodeId join(NodeId shortcut, NodeId residual, const std::string& name) {
    return net_.relu(net_.add(shortcut, residual, name + "_add"), name + "_out");
  }

  GraphBuilder net_;
  std::int64_t classes_;
  Style style_;
};

NodeId ResNet::basic(NodeId x, const std::string& name, int filters, int stride) {
  const NodeId straight = shortcut(x, name, filters, stride);
  NodeId y = conv_norm_relu(x, name + "_1", filters, 3, stride);
  y = conv_norm(y, name + "_2", filters, 3, 1);
  return join(straight, y, name);
}

NodeId ResNet::bottleneck(NodeId x, const std::string& name, int filters, int stride) {
  const NodeId straight = shortcut(x, name, 4 * filters, stride);
  NodeId y = conv_norm_relu(x, name + "_1", filters, 1, stride);
  y = conv_norm_relu(y, name + "_2", filters, 3, 1);
  y = conv_norm(y, name + "_3", 4 * filters, 1, 1);
  return join(straight, y, name);
}

Graph ResNet::make(Block block, const std::array<int, 4>& blocks) && {
  NodeId x = conv_norm_relu(net_.input(), "conv1", 64, 7, 2);
  x = net_.max_pool(x, "pool1", 3, 2, Padding::all(1));
  for (int stage = 0; stage < 4; ++stage)
    for (int i = 0; i < blocks[static_cast<std::size_t>(stage)]; ++i) {
      const std::string name = "conv" + std::to_string(stage + 2) + "_block" + std::to_string(i + 1);
      x = (this->*block)(x, name, 64 << stage, stage > 0 && i == 0 ? 2 : 1);
    }
  x = net_.global_average_pool(x, "avg_pool");
  net_.dense(x, "predictions", classes_);
  return std::move(net_).finish();
}

constexpr Style kKeras{.bias = true, .epsilon = 1.001e-5F, .momentum = 0.99F};
constexpr Style kTorchvision{.bias = false, .epsilon = 1e-5F, .momentum = 0.9F};

}  // namespace

Graph resnet18(const NetworkOptions& options) {
  return ResNet("resnet18", options, kTorchvision).make(&ResNet::basic, {2, 2, 2, 2});
}
Graph resnet34(const NetworkOptions& options) {
  return ResNet("resnet34", options, kTorchvision).make(&ResNet::basic, {3, 4, 6, 3});
}
Graph resnet50(const NetworkOptions& options) {
  return ResNet("resnet50", options, kKeras).make(&ResNet::bottleneck, {3, 4, 6, 3});
}

}  // namespace brigade::network
