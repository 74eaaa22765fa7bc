// alexnet: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", NeurIPS
// 2012, section 3.5. The two towers of its figure 2 are two groups of channels. The figure's 224x224 pixels give 55x55
// positions of the first convolution only with zeros around them (or as 227x227).
//
//     224x224x3    conv 11x11 96 stride 4, ReLU, response norm, max-pool 3x3 stride 2
//     27x27x96     conv 5x5 256 in 2 groups, ReLU, response norm, max-pool 3x3 stride 2
//     13x13x256    conv 3x3 384, ReLU
//     13x13x384    conv 3x3 384 in 2 groups, ReLU, conv 3x3 256 in 2 groups, ReLU, max-pool 3x3 stride 2
//     6x6x256      flatten, 2 x (dense 4096, ReLU, dropout 0.5), dense 1000
#include "networks.hpp"

namespace brigade::network {

Graph alexnet(const NetworkOptions& options) {
  GraphBuilder net("alexnet", "Krizhevsky, Sutskever, Hinton, NeurIPS 2012, section 3.5", or_usual(options.height, 224),
                   or_usual(options.width, 224), or_usual(options.channels, 3));
  const auto same_conv = [&](NodeId x, const std::string& number, int filters, int kernel, int groups) {
    x = net.conv2d(x, "conv" + number, filters, kernel, {.padding = Padding::same, .groups = groups});
    return net.relu(x, "relu" + number);
  };
  const auto norm_pool = [&](NodeId x, const std::string& number) {
    return net.max_pool(net.local_response_norm(x, "norm" + number), "pool" + number, 3, 2);
  };
  const auto dense = [&](NodeId x, const std::string& number) {
    x = net.relu(net.dense(x, "dense" + number, 4096), "relu" + number);
    return net.dropout(x, "dropout" + number, options.dropout.value_or(0.5F));
  };

  const Padding around{.top = 1, .left = 1, .bottom = 2, .right = 2};
  NodeId x = net.relu(net.conv2d(net.input(), "conv1", 96, 11, {.stride = 4, .padding = around}), "relu1");
  x = same_conv(norm_pool(x, "1"), "2", 256, 5, 2);
  x = same_conv(norm_pool(x, "2"), "3", 384, 3, 1);
  x = same_conv(x, "4", 384, 3, 2);
  x = same_conv(x, "5", 256, 3, 2);
  x = net.flatten(net.max_pool(x, "pool5", 3, 2));
  x = dense(dense(x, "6"), "7");
  net.dense(x, "predictions", or_usual(options.classes, 1000));
  return std::move(net).finish();
}

}  // namespace brigade::network
