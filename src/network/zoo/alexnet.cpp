// alexnet: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997 (2014),
// footnote 1: the network of Krizhevsky, Sutskever, Hinton, NeurIPS 2012, without its two towers and without local
// response normalisation. The sizes are torchvision's.
//
//     224x224x3    conv 11x11 64 stride 4 (2 zeros around), ReLU, max-pool 3x3 stride 2
//     27x27x64     conv 5x5 192 same, ReLU, max-pool 3x3 stride 2
//     13x13x192    conv 3x3 384 same, ReLU
//     13x13x384    conv 3x3 256 same, ReLU, conv 3x3 256 same, ReLU, max-pool 3x3 stride 2
//     6x6x256      flatten, 2 x (dropout 0.5, dense 4096, ReLU), dense 1000
#include "networks.hpp"

namespace brigade::network {

Graph alexnet(const NetworkOptions& options) {
  GraphBuilder net("alexnet", "Krizhevsky, arXiv:1404.5997 (2014), footnote 1", or_usual(options.height, 224),
                   or_usual(options.width, 224), or_usual(options.channels, 3));

  NodeId x = net.conv2d(net.input(), "conv1", 64, 11, {.stride = 4, .padding = Padding::all(2)});
  x = net.relu(x, "relu1");
  x = net.max_pool(x, "pool1", 3, 2);

  x = net.conv2d(x, "conv2", 192, 5, {.padding = Padding::same});
  x = net.relu(x, "relu2");
  x = net.max_pool(x, "pool2", 3, 2);

  x = net.conv2d(x, "conv3", 384, 3, {.padding = Padding::same});
  x = net.relu(x, "relu3");
  x = net.conv2d(x, "conv4", 256, 3, {.padding = Padding::same});
  x = net.relu(x, "relu4");
  x = net.conv2d(x, "conv5", 256, 3, {.padding = Padding::same});
  x = net.relu(x, "relu5");
  x = net.max_pool(x, "pool5", 3, 2);

  x = net.flatten(x);
  const float rate = options.dropout.value_or(0.5F);
  x = net.dropout(x, "dropout6", rate);
  x = net.dense(x, "dense6", 4096);
  x = net.relu(x, "relu6");
  x = net.dropout(x, "dropout7", rate);
  x = net.dense(x, "dense7", 4096);
  x = net.relu(x, "relu7");
  net.dense(x, "predictions", or_usual(options.classes, 1000));
  return std::move(net).finish();
}

}  // namespace brigade::network
