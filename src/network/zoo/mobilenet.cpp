// mobilenet: Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications",
// arXiv:1704.04861 (2017), table 1, as in Keras: ReLU6 for ReLU, zeros at the bottom and right of a strided depthwise
// convolution, dropout 0.001. Each convolution is followed by batch norm (momentum 0.99) and ReLU6; the width
// multiplier scales all filters.
//
//     224x224x3      conv 3x3 32 stride 2
//     112x112x32     separable 64
//     112x112x64     separable 128 stride 2, separable 128
//     56x56x128      separable 256 stride 2, separable 256
//     28x28x256      separable 512 stride 2, 5 x separable 512
//     14x14x512      separable 1024 stride 2, separable 1024
//     7x7x1024       global average pool, dropout, dense 1000
//
// separable f:   depthwise 3x3 (with the stride), conv 1x1 f
#include "networks.hpp"

namespace brigade::network {

Graph mobilenet(const NetworkOptions& options) {
  GraphBuilder net("mobilenet", "Howard et al., arXiv:1704.04861 (2017), table 1", or_usual(options.height, 224),
                   or_usual(options.width, 224), or_usual(options.channels, 3));
  const auto scaled = [&](int filters) { return static_cast<std::int64_t>(filters * options.width_multiplier); };
  const auto norm_relu6 = [&](NodeId x, const std::string& name) {
    return net.relu6(net.batch_norm(x, name + "_bn", {.momentum = 0.99F}), name + "_relu");
  };
  struct Separable {
    int filters, stride;
  };

  NodeId x = net.conv2d(net.input(), "conv1", scaled(32), 3, {.stride = 2, .padding = Padding::same, .bias = false});
  x = norm_relu6(x, "conv1");
  int number = 0;
  for (const auto& [filters, stride] : {Separable{64, 1},
                                        {128, 2},
                                        {128, 1},
                                        {256, 2},
                                        {256, 1},
                                        {512, 2},
                                        {512, 1},
                                        {512, 1},
                                        {512, 1},
                                        {512, 1},
                                        {512, 1},
                                        {1024, 2},
                                        {1024, 1}}) {
    const std::string block = std::to_string(++number);
    const Padding padding = stride == 1 ? Padding::same : Padding{.bottom = 1, .right = 1};
    x = net.depthwise_conv2d(x, "conv_dw_" + block, 3, {.stride = stride, .padding = padding, .bias = false});
    x = norm_relu6(x, "conv_dw_" + block);
    x = net.conv2d(x, "conv_pw_" + block, scaled(filters), 1, {.bias = false});
    x = norm_relu6(x, "conv_pw_" + block);
  }

  x = net.global_average_pool(x, "avg_pool");
  x = net.dropout(x, "dropout", options.dropout.value_or(1e-3F));
  net.dense(x, "predictions", or_usual(options.classes, 1000));
  return std::move(net).finish();
}

}  // namespace brigade::network
