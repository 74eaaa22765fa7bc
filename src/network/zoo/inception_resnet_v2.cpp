// inception-resnet-v2: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the impact of residual
// connections on learning", AAAI 2017, figure 15, as in Keras (whose stem is Inception-v3's). Convolutions are same
// with batch norm and ReLU; branches are concatenated. r x c: r rows, c columns.
//
//     299x299x3      stem of inception-v3
//     35x35x192      mixed 5b       1x1 96 | 1x1 48, 5x5 64 | 1x1 64, 3x3 96, 3x3 96 | average, 1x1 64
//     35x35x320      10 x block35   1x1 32 | 1x1 32, 3x3 32 | 1x1 32, 3x3 48, 3x3 64             (scale 0.17)
//     35x35x320      mixed 6a       3x3 384 | 1x1 256, 3x3 256, 3x3 384 | max-pool               (strides 2, valid)
//     17x17x1088     20 x block17   1x1 192 | 1x1 128, 1x7 160, 7x1 192                          (scale 0.1)
//     17x17x1088     mixed 7a       1x1 256, 3x3 384 | 1x1 256, 3x3 288 | 1x1 256, 3x3 288, 3x3 320 | max-pool
//     8x8x2080       9 x block8     1x1 192 | 1x1 192, 1x3 224, 3x1 256                          (scale 0.2)
//     8x8x2080       block8 with scale 1 and no ReLU
//     8x8x2080       conv 1x1 1536, global average pool, dense 1000
//
// block:  x + scale * (1x1 convolution of the branches to the channels of x, with bias, without norm), ReLU
#include "inception.hpp"

namespace brigade::network {
namespace {

class InceptionResNetV2 : Inception {
 public:
  explicit InceptionResNetV2(const NetworkOptions& options)
      : Inception("inception-resnet-v2", "Szegedy, Ioffe, Vanhoucke, Alemi, AAAI 2017, figure 15", options) {}

  Graph make() && {
    NodeId x = mixed_5b(stem(), "mixed_5b");
    for (int i = 1; i <= 10; ++i) x = block35(x, "block35_" + std::to_string(i));
    x = mixed_6a(x, "mixed_6a");
    for (int i = 1; i <= 20; ++i) x = block17(x, "block17_" + std::to_string(i));
    x = mixed_7a(x, "mixed_7a");
    for (int i = 1; i <= 9; ++i) {
      const std::string name = "block8_" + std::to_string(i);
      x = net_.relu(block8(x, name, 0.2F), name + "_relu");
    }
    x = block8(x, "block8_10", 1);
    return finish(conv(x, "conv_7b", 1536, 1));
  }

 private:
  NodeId residual(NodeId x, const std::string& name, const std::vector<NodeId>& branches, float scale) {
    const NodeId mixed = net_.concat(branches, name + "_mixed");
    const NodeId up = net_.conv2d(mixed, name + "_up_conv", net_.output(x).back(), 1, {});
    return net_.add(x, up, name + "_add", scale);
  }

  NodeId mixed_5b(NodeId x, const std::string& name) {
    const NodeId a = conv(x, name + "_1x1", 96, 1);
    NodeId b = conv(x, name + "_5x5_1", 48, 1);
    b = conv(b, name + "_5x5_2", 64, 5);
    NodeId c = conv(x, name + "_3x3_1", 64, 1);
    c = conv(c, name + "_3x3_2", 96, 3);
    c = conv(c, name + "_3x3_3", 96, 3);
    return net_.concat({a, b, c, pooled(x, name + "_average", 64)}, name);
  }

  NodeId block35(NodeId x, const std::string& name) {
    const NodeId a = conv(x, name + "_1x1", 32, 1);
    NodeId b = conv(x, name + "_3x3_1", 32, 1);
    b = conv(b, name + "_3x3_2", 32, 3);
    NodeId c = conv(x, name + "_double_1", 32, 1);
    c = conv(c, name + "_double_2", 48, 3);
    c = conv(c, name + "_double_3", 64, 3);
    return net_.relu(residual(x, name, {a, b, c}, 0.17F), name + "_relu");
  }

  NodeId mixed_6a(NodeId x, const std::string& name) {
    const NodeId a = conv(x, name + "_3x3", 384, 3, 2, Padding::valid);
    NodeId b = conv(x, name + "_double_1", 256, 1);
    b = conv(b, name + "_double_2", 256, 3);
    b = conv(b, name + "_double_3", 384, 3, 2, Padding::valid);
    return net_.concat({a, b, net_.max_pool(x, name + "_pool", 3, 2)}, name);
  }

  NodeId block17(NodeId x, const std::string& name) {
    const NodeId a = conv(x, name + "_1x1", 192, 1);
    NodeId b = conv(x, name + "_7x7_1", 128, 1);
    b = conv(b, name + "_7x7_2", 160, {1, 7});
    b = conv(b, name + "_7x7_3", 192, {7, 1});
    return net_.relu(residual(x, name, {a, b}, 0.1F), name + "_relu");
  }

  NodeId mixed_7a(NodeId x, const std::string& name) {
    NodeId a = conv(x, name + "_first_1", 256, 1);
    a = conv(a, name + "_first_2", 384, 3, 2, Padding::valid);
    NodeId b = conv(x, name + "_second_1", 256, 1);
    b = conv(b, name + "_second_2", 288, 3, 2, Padding::valid);
    NodeId c = conv(x, name + "_double_1", 256, 1);
    c = conv(c, name + "_double_2", 288, 3);
    c = conv(c, name + "_double_3", 320, 3, 2, Padding::valid);
    return net_.concat({a, b, c, net_.max_pool(x, name + "_pool", 3, 2)}, name);
  }

  NodeId block8(NodeId x, const std::string& name, float scale) {
    const NodeId a = conv(x, name + "_1x1", 192, 1);
    NodeId b = conv(x, name + "_3x3_1", 192, 1);
    b = conv(b, name + "_3x3_2", 224, {1, 3});
    b = conv(b, name + "_3x3_3", 256, {3, 1});
    return residual(x, name, {a, b}, scale);
  }
};

}  // namespace

Graph inception_resnet_v2(const NetworkOptions& options) { return InceptionResNetV2(options).make(); }

}  // namespace brigade::network
