// LeNet-5: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE
// 86 (1998), figure 2, as it is commonly built today: 28x28 images padded by the first convolution instead of
// 32x32, ReLU for tanh, max-pooling for trainable averaging, all maps connected, softmax for radial basis functions.
//
//     28x28x1   conv 5x5 6 same, ReLU, max-pool 2x2      (C1, S2)
//     14x14x6   conv 5x5 16, ReLU, max-pool 2x2          (C3, S4)
//     5x5x16    flatten, dense 120, ReLU, dense 84, ReLU, dense 10   (C5, F6, output)
#include "networks.hpp"

namespace brigade::network {

Graph lenet5(const NetworkOptions& options) {
  GraphBuilder net("lenet5", "LeCun et al., Proc. IEEE 86 (1998)", or_usual(options.height, 28),
                   or_usual(options.width, 28), or_usual(options.channels, 1));

  NodeId x = net.conv2d(net.input(), "conv1", 6, 5, {.padding = GraphBuilder::Padding::same});
  x = net.relu(x, "relu1");
  x = net.max_pool(x, "pool1");

  x = net.conv2d(x, "conv2", 16, 5, {});
  x = net.relu(x, "relu2");
  x = net.max_pool(x, "pool2");

  x = net.flatten(x);
  x = net.dense(x, "dense1", 120);
  x = net.relu(x, "relu3");
  x = net.dense(x, "dense2", 84);
  x = net.relu(x, "relu4");
  net.dense(x, "logits", or_usual(options.classes, 10));
  return std::move(net).finish();
}

}  // namespace brigade::network
