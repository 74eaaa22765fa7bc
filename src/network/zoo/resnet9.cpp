// resnet9, the fast network for CIFAR-10: Page, "How to train your ResNet", 2018-2019 (winner of Stanford DAWNBench,
// Coleman et al., NeurIPS ML Systems workshop 2017). Each convolution is 3x3 same without bias, followed by batch norm
// (as published with PyTorch's defaults: epsilon 1e-5, momentum 0.9, which is 0.1 there) and ReLU.
//
//     32x32x3      conv 64
//     32x32x64     conv 128, max-pool 2x2, x + (conv 128, conv 128)
//     16x16x128    conv 256, max-pool 2x2
//     8x8x256      conv 512, max-pool 2x2, x + (conv 512, conv 512)
//     4x4x512      max-pool 4x4, flatten, dense 10 without bias, times 0.125
#include "networks.hpp"

namespace brigade::network {

Graph resnet9(const NetworkOptions& options) {
  GraphBuilder net("resnet9", "Page, How to train your ResNet (2019)", or_usual(options.height, 32),
                   or_usual(options.width, 32), or_usual(options.channels, 3));
  const auto conv = [&](NodeId x, const std::string& name, int filters) {
    x = net.conv2d(x, name + "_conv", filters, 3, {.padding = Padding::same, .bias = false});
    x = net.batch_norm(x, name + "_bn", {.epsilon = 1e-5F, .momentum = 0.9F});
    return net.relu(x, name + "_relu");
  };
  const auto residual = [&](NodeId x, const std::string& name, int filters) {
    return net.add(x, conv(conv(x, name + "_res1", filters), name + "_res2", filters), name + "_add");
  };

  NodeId x = conv(net.input(), "prep", 64);
  x = net.max_pool(conv(x, "layer1", 128), "pool1");
  x = residual(x, "layer1", 128);
  x = net.max_pool(conv(x, "layer2", 256), "pool2");
  x = net.max_pool(conv(x, "layer3", 512), "pool3");
  x = residual(x, "layer3", 512);
  x = net.flatten(net.max_pool(x, "pool4", 4, 4));
  x = net.dense(x, "logits", or_usual(options.classes, 10), {.bias = false});
  net.scale(x, "scale", 0.125F);
  return std::move(net).finish();
}

}  // namespace brigade::network
