// tiny-model2, the larger of two networks for TinyImageNet (Le, Yang, "Tiny ImageNet visual recognition challenge",
// Stanford CS231N report, 2015), in the manner of VGG (Simonyan, Zisserman, ICLR 2015) with batch norm (Ioffe,
// Szegedy, ICML 2015) after the pooling. All convolutions valid.
//
//     64x64x3    conv 3x3 32, ReLU, conv 3x3 32, ReLU, max-pool 2x2, batch norm, dropout 0.5
//     30x30x32   conv 3x3 32, ReLU, conv 3x3 64, ReLU, max-pool 2x2, batch norm, dropout 0.5
//     13x13x64   conv 3x3 128, ReLU, max-pool 2x2
//     5x5x128    conv 3x3 128, ReLU, max-pool 2x2, batch norm
//     1x1x128    flatten, dense 512, ReLU, dense 1024, ReLU, dense 200
#include "networks.hpp"

namespace brigade::network {

Graph tiny_model2(const NetworkOptions& options) {
  GraphBuilder net("tiny-model2", "Le, Yang, Stanford CS231N report (2015) (the dataset)", or_usual(options.height, 64),
                   or_usual(options.width, 64), or_usual(options.channels, 3));
  const float rate = options.dropout.value_or(0.5F);

  NodeId x = net.conv2d(net.input(), "conv1", 32, 3, {});
  x = net.relu(x, "relu1");
  x = net.conv2d(x, "conv2", 32, 3, {});
  x = net.relu(x, "relu2");
  x = net.max_pool(x, "pool1");
  x = net.batch_norm(x, "bn1");
  x = net.dropout(x, "dropout1", rate);

  x = net.conv2d(x, "conv3", 32, 3, {});
  x = net.relu(x, "relu3");
  x = net.conv2d(x, "conv4", 64, 3, {});
  x = net.relu(x, "relu4");
  x = net.max_pool(x, "pool2");
  x = net.batch_norm(x, "bn2");
  x = net.dropout(x, "dropout2", rate);

  x = net.conv2d(x, "conv5", 128, 3, {});
  x = net.relu(x, "relu5");
  x = net.max_pool(x, "pool3");

  x = net.conv2d(x, "conv6", 128, 3, {});
  x = net.relu(x, "relu6");
  x = net.max_pool(x, "pool4");
  x = net.batch_norm(x, "bn3");

  x = net.flatten(x);
  x = net.dense(x, "dense1", 512);
  x = net.relu(x, "relu7");
  x = net.dense(x, "dense2", 1024);
  x = net.relu(x, "relu8");
  net.dense(x, "logits", or_usual(options.classes, 200));
  return std::move(net).finish();
}

}  // namespace brigade::network
