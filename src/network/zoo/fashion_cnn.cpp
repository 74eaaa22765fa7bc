// fashion-cnn, for Fashion-MNIST (Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
// machine learning algorithms", arXiv:1708.07747, 2017), with batch norm as in Ioffe, Szegedy, ICML 2015.
// The convolutions have no bias: batch norm would subtract it again.
//
//     28x28x1   conv 5x5 32 same, batch norm, ReLU, max-pool 2x2
//     14x14x32  conv 5x5 64 same, batch norm, ReLU, max-pool 2x2
//     7x7x64    flatten, dense 128, ReLU, dense 10
#include "networks.hpp"

namespace brigade::network {

Graph fashion_cnn(const NetworkOptions& options) {
  GraphBuilder net("fashion-cnn", "Xiao, Rasul, Vollgraf, arXiv:1708.07747 (the dataset)", or_usual(options.height, 28),
                   or_usual(options.width, 28), or_usual(options.channels, 1));
  const GraphBuilder::ConvOptions same{.padding = GraphBuilder::Padding::same, .bias = false};

  NodeId x = net.conv2d(net.input(), "conv1", 32, 5, same);
  x = net.batch_norm(x, "bn1");
  x = net.relu(x, "relu1");
  x = net.max_pool(x, "pool1");

  x = net.conv2d(x, "conv2", 64, 5, same);
  x = net.batch_norm(x, "bn2");
  x = net.relu(x, "relu2");
  x = net.max_pool(x, "pool2");

  x = net.flatten(x);
  x = net.dense(x, "dense1", 128);
  x = net.relu(x, "relu3");
  net.dense(x, "logits", or_usual(options.classes, 10));
  return std::move(net).finish();
}

}  // namespace brigade::network
