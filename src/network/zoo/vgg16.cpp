// vgg16: Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
// table 1, column D. All convolutions 3x3 same with ReLU, all pooling 2x2.
//
//     224x224x3     2 x conv 64, max-pool
//     112x112x64    2 x conv 128, max-pool
//     56x56x128     3 x conv 256, max-pool
//     28x28x256     3 x conv 512, max-pool
//     14x14x512     3 x conv 512, max-pool
//     7x7x512       flatten, 2 x (dense 4096, ReLU, dropout 0.5), dense 1000
#include "networks.hpp"

namespace brigade::network {

Graph vgg16(const NetworkOptions& options) {
  GraphBuilder net("vgg16", "Simonyan, Zisserman, ICLR 2015, table 1 D", or_usual(options.height, 224),
                   or_usual(options.width, 224), or_usual(options.channels, 3));
  struct Block {
    int convolutions, filters;
  };
  NodeId x = net.input();
  int number = 0;
  for (const auto& [convolutions, filters] : {Block{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}}) {
    const std::string block = "block" + std::to_string(++number);
    for (int i = 1; i <= convolutions; ++i) {
      const std::string name = block + "_conv" + std::to_string(i);
      x = net.conv2d(x, name, filters, 3, {.padding = Padding::same});
      x = net.relu(x, name + "_relu");
    }
    x = net.max_pool(x, block + "_pool");
  }

  x = net.flatten(x);
  for (const std::string name : {"fc1", "fc2"}) {
    x = net.dense(x, name, 4096);
    x = net.relu(x, name + "_relu");
    x = net.dropout(x, name + "_dropout", options.dropout.value_or(0.5F));
  }
  net.dense(x, "predictions", or_usual(options.classes, 1000));
  return std::move(net).finish();
}

}  // namespace brigade::network
