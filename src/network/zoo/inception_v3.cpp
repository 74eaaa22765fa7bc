// inception-v3: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture for computer vision",
// CVPR 2016, table 1, without the auxiliary classifier, as in Keras (which fixes the filters the paper leaves open).
// Convolutions are same with batch norm and ReLU; branches are concatenated. r x c: r rows, c columns.
//
//     299x299x3     stem: conv 3x3 32 stride 2 valid, 3x3 32 valid, 3x3 64, max-pool 3x3 stride 2, 1x1 80,
//                   3x3 192 valid, max-pool 3x3 stride 2
//     35x35x192     3 x figure 5    1x1 64 | 1x1 48, 5x5 64 | 1x1 64, 3x3 96, 3x3 96 | average, 1x1 32 (then 64)
//     35x35x288     reduction       3x3 384 | 1x1 64, 3x3 96, 3x3 96 | max-pool                  (strides 2, valid)
//     17x17x768     4 x figure 6    1x1 192 | 1x1 f, 1x7 f, 7x1 192 | 1x1 f, 7x1 f, 1x7 f, 7x1 f, 1x7 192
//                                   | average, 1x1 192;   f = 128, 160, 160, 192
//     17x17x768     reduction       1x1 192, 3x3 320 | 1x1 192, 1x7 192, 7x1 192, 3x3 192 | max-pool
//     8x8x1280      2 x figure 7    1x1 320 | 1x1 384, (1x3 384 | 3x1 384) | 1x1 448, 3x3 384, (1x3 384 | 3x1 384)
//                                   | average, 1x1 192
//     8x8x2048      global average pool, dense 1000
#include "inception.hpp"

namespace brigade::network {
namespace {

class InceptionV3 : Inception {
 public:
  explicit InceptionV3(const NetworkOptions& options)
      : Inception("inception-v3", "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, CVPR 2016, table 1", options) {}

  Graph make() && {
    NodeId x = stem();
    x = figure5(x, "mixed0", 32);
    x = figure5(x, "mixed1", 64);
    x = figure5(x, "mixed2", 64);
    x = reduction35(x, "mixed3");
    x = figure6(x, "mixed4", 128);
    x = figure6(x, "mixed5", 160);
    x = figure6(x, "mixed6", 160);
    x = figure6(x, "mixed7", 192);
    x = reduction17(x, "mixed8");
    x = figure7(x, "mixed9");
    x = figure7(x, "mixed10");
    return finish(x);
  }

 private:
  NodeId figure5(NodeId x, const std::string& name, int pool_filters) {
    const NodeId a = conv(x, name + "_1x1", 64, 1);
    NodeId b = conv(x, name + "_5x5_1", 48, 1);
    b = conv(b, name + "_5x5_2", 64, 5);
    NodeId c = conv(x, name + "_3x3_1", 64, 1);
    c = conv(c, name + "_3x3_2", 96, 3);
    c = conv(c, name + "_3x3_3", 96, 3);
    return net_.concat({a, b, c, pooled(x, name + "_average", pool_filters)}, name);
  }

  NodeId reduction35(NodeId x, const std::string& name) {
    const NodeId a = conv(x, name + "_3x3", 384, 3, 2, Padding::valid);
    NodeId b = conv(x, name + "_double_1", 64, 1);
    b = conv(b, name + "_double_2", 96, 3);
    b = conv(b, name + "_double_3", 96, 3, 2, Padding::valid);
    return net_.concat({a, b, net_.max_pool(x, name + "_pool", 3, 2)}, name);
  }

  NodeId figure6(NodeId x, const std::string& name, int filters) {
    const NodeId a = conv(x, name + "_1x1", 192, 1);
    NodeId b = conv(x, name + "_7x7_1", filters, 1);
    b = conv(b, name + "_7x7_2", filters, {1, 7});
    b = conv(b, name + "_7x7_3", 192, {7, 1});
    NodeId c = conv(x, name + "_double_1", filters, 1);
    c = conv(c, name + "_double_2", filters, {7, 1});
    c = conv(c, name + "_double_3", filters, {1, 7});
    c = conv(c, name + "_double_4", filters, {7, 1});
    c = conv(c, name + "_double_5", 192, {1, 7});
    return net_.concat({a, b, c, pooled(x, name + "_average", 192)}, name);
  }

  NodeId reduction17(NodeId x, const std::string& name) {
    NodeId a = conv(x, name + "_3x3_1", 192, 1);
    a = conv(a, name + "_3x3_2", 320, 3, 2, Padding::valid);
    NodeId b = conv(x, name + "_7x7_1", 192, 1);
    b = conv(b, name + "_7x7_2", 192, {1, 7});
    b = conv(b, name + "_7x7_3", 192, {7, 1});
    b = conv(b, name + "_7x7_4", 192, 3, 2, Padding::valid);
    return net_.concat({a, b, net_.max_pool(x, name + "_pool", 3, 2)}, name);
  }

  NodeId figure7(NodeId x, const std::string& name) {
    const auto fork = [&](NodeId y, const std::string& branch) {
      const NodeId row = conv(y, branch + "_1x3", 384, {1, 3});
      const NodeId column = conv(y, branch + "_3x1", 384, {3, 1});
      return net_.concat({row, column}, branch);
    };
    const NodeId a = conv(x, name + "_1x1", 320, 1);
    const NodeId b = fork(conv(x, name + "_3x3_1", 384, 1), name + "_3x3");
    NodeId c = conv(x, name + "_double_1", 448, 1);
    c = fork(conv(c, name + "_double_2", 384, 3), name + "_double");
    return net_.concat({a, b, c, pooled(x, name + "_average", 192)}, name);
  }
};

}  // namespace

Graph inception_v3(const NetworkOptions& options) { return InceptionV3(options).make(); }

}  // namespace brigade::network
