// tiny-model1, the smaller of two networks for TinyImageNet (Le, Yang, "Tiny ImageNet visual recognition challenge",
// Stanford CS231N report, 2015), in the manner of VGG (Simonyan, Zisserman, ICLR 2015). All convolutions valid.
//
//     64x64x3    conv 3x3 32, ReLU, max-pool 2x2
//     31x31x32   conv 3x3 64, ReLU, max-pool 2x2
//     14x14x64   conv 3x3 128, ReLU, max-pool 2x2
//     6x6x128    conv 3x3 128, ReLU, max-pool 2x2
//     2x2x128    flatten, dropout 0.5, dense 512, ReLU, dense 200
#include "networks.hpp"

namespace brigade::network {

Graph tiny_model1(const NetworkOptions& options) {
  GraphBuilder net("tiny-model1", "Le, Yang, Stanford CS231N report (2015) (the dataset)", or_usual(options.height, 64),
                   or_usual(options.width, 64), or_usual(options.channels, 3));

  NodeId x = net.conv2d(net.input(), "conv1", 32, 3, {});
  x = net.relu(x, "relu1");
  x = net.max_pool(x, "pool1");

  x = net.conv2d(x, "conv2", 64, 3, {});
  x = net.relu(x, "relu2");
  x = net.max_pool(x, "pool2");

  x = net.conv2d(x, "conv3", 128, 3, {});
  x = net.relu(x, "relu3");
  x = net.max_pool(x, "pool3");

  x = net.conv2d(x, "conv4", 128, 3, {});
  x = net.relu(x, "relu4");
  x = net.max_pool(x, "pool4");

  x = net.flatten(x);
  x = net.dropout(x, "dropout1", options.dropout.value_or(0.5F));
  x = net.dense(x, "dense1", 512);
  x = net.relu(x, "relu5");
  net.dense(x, "logits", or_usual(options.classes, 200));
  return std::move(net).finish();
}

}  // namespace brigade::network
