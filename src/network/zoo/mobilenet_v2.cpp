// mobilenet-v2: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: inverted residuals and linear bottlenecks",
// CVPR 2018, table 2, as in Keras. Each convolution is followed by batch norm, whose running averages have momentum
// 0.999 there; ReLU6 after all but the last of a bottleneck. The width multiplier scales filters to multiples of 8,
// the last convolution only above 1.
//
//     224x224x3     conv 3x3 32 stride 2             expansion t   filters c   repeated n   stride s
//     112x112x32    bottleneck                            1            16          1            1
//     112x112x16    bottleneck                            6            24          2            2
//     56x56x24      bottleneck                            6            32          3            2
//     28x28x32      bottleneck                            6            64          4            2
//     14x14x64      bottleneck                            6            96          3            1
//     14x14x96      bottleneck                            6           160          3            2
//     7x7x160       bottleneck                            6           320          1            1
//     7x7x320       conv 1x1 1280, global average pool, dense 1000
//
// bottleneck:  conv 1x1 t times the channels (not where t = 1), depthwise 3x3 (the first with the stride), conv 1x1 c
//              without activation; added to what it read where shapes agree
#include <algorithm>

#include "networks.hpp"

namespace brigade::network {
namespace {

// The multiple of 8 nearest to `filters`, unless that takes away more than a tenth.
std::int64_t multiple_of_8(double filters) {
  const std::int64_t nearest = std::max<std::int64_t>(8, static_cast<std::int64_t>(filters + 4) / 8 * 8);
  return static_cast<double>(nearest) < 0.9 * filters ? nearest + 8 : nearest;
}

class MobileNetV2 {
 public:
  explicit MobileNetV2(const NetworkOptions& options)
      : net_("mobilenet-v2", "Sandler et al., CVPR 2018, table 2", or_usual(options.height, 224),
             or_usual(options.width, 224), or_usual(options.channels, 3)),
        classes_(or_usual(options.classes, 1000)),
        multiplier_(options.width_multiplier) {}

  Graph make() &&;

 private:
  NodeId norm(NodeId x, const std::string& name) { return net_.batch_norm(x, name + "_bn", {.momentum = 0.999F}); }
  NodeId conv_norm(NodeId x, const std::string& name, std::int64_t filters, int kernel, int stride) {
    x = net_.conv2d(x, name, filters, kernel, {.stride = stride, .padding = Padding::same, .bias = false});
    return norm(x, name);
  }
  NodeId conv_norm_relu6(NodeId x, const std::string& name, std::int64_t filters, int kernel, int stride) {
    return net_.relu6(conv_norm(x, name, filters, kernel, stride), name + "_relu");
  }
  NodeId depthwise_norm_relu6(NodeId x, const std::string& name, int stride) {
    x = net_.depthwise_conv2d(x, name, 3, {.stride = stride, .padding = Padding::same, .bias = false});
    return net_.relu6(norm(x, name), name + "_relu");
  }

  NodeId bottleneck(NodeId x, const std::string& name, int expansion, std::int64_t filters, int stride) {
    NodeId y = x;
    if (expansion > 1) y = conv_norm_relu6(y, name + "_expand", expansion * net_.output(x).back(), 1, 1);
    y = depthwise_norm_relu6(y, name + "_depthwise", stride);
    y = conv_norm(y, name + "_project", filters, 1, 1);
    return net_.output(x) == net_.output(y) && stride == 1 ? net_.add(x, y, name + "_add") : y;
  }

  GraphBuilder net_;
  std::int64_t classes_;
  double multiplier_;
};

Graph MobileNetV2::make() && {
  struct Row {
    int expansion, filters, repeated, stride;
  };
  NodeId x = conv_norm_relu6(net_.input(), "conv1", multiple_of_8(32 * multiplier_), 3, 2);
  int number = 0;
  for (const Row& row :
       {Row{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}})
    for (int i = 0; i < row.repeated; ++i)
      x = bottleneck(x, "block" + std::to_string(++number), row.expansion, multiple_of_8(row.filters * multiplier_),
                     i == 0 ? row.stride : 1);
  x = conv_norm_relu6(x, "conv2", multiple_of_8(1280 * std::max(1.0, multiplier_)), 1, 1);
  x = net_.global_average_pool(x, "avg_pool");
  net_.dense(x, "predictions", classes_);
  return std::move(net_).finish();
}

}  // namespace

Graph mobilenet_v2(const NetworkOptions& options) { return MobileNetV2(options).make(); }

}  // namespace brigade::network
