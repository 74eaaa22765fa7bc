// wide-resnet-28-10: Zagoruyko, Komodakis, "Wide residual networks", BMVC 2016, table 1 with depth 28 (N = 4 blocks a
// group) and widening factor k = 10, which the width multiplier scales. Convolutions have no bias; norm and ReLU come
// before them (He et al., "Identity mappings in deep residual networks", ECCV 2016). Batch norm has the defaults of
// Torch, in which it was published: epsilon 1e-5, momentum 0.9 (0.1 there, the weight of the new).
//
//     32x32x3    conv 3x3 16
//     32x32      N blocks of 16 k
//     16x16      N blocks of 32 k, the first with stride 2
//     8x8        N blocks of 64 k, the first with stride 2
//     8x8        batch norm, ReLU, global average pool, dense 10
//
// block f:    norm-ReLU-conv 3x3 f (with the stride), norm-ReLU-conv 3x3 f, added to what it read; where the shape
//             changes, to a 1x1 convolution of the first norm and ReLU
#include "networks.hpp"

namespace brigade::network {
namespace {

constexpr int kBlocks = 4;

class WideResNet {
 public:
  explicit WideResNet(const NetworkOptions& options)
      : net_("wide-resnet-28-10", "Zagoruyko, Komodakis, BMVC 2016, table 1", or_usual(options.height, 32),
             or_usual(options.width, 32), or_usual(options.channels, 3)),
        classes_(or_usual(options.classes, 10)),
        widening_(10 * options.width_multiplier) {}

  Graph make() && {
    NodeId x = conv(net_.input(), "conv1", 16, 3, 1);
    for (int group = 2; group <= 4; ++group)
      for (int i = 1; i <= kBlocks; ++i) {
        const auto filters = static_cast<std::int64_t>((4 << group) * widening_);
        x = block(x, "conv" + std::to_string(group) + "_block" + std::to_string(i), filters,
                  group > 2 && i == 1 ? 2 : 1);
      }
    x = net_.global_average_pool(norm_relu(x, "final"), "avg_pool");
    net_.dense(x, "logits", classes_);
    return std::move(net_).finish();
  }

 private:
  NodeId norm_relu(NodeId x, const std::string& name) {
    return net_.relu(net_.batch_norm(x, name + "_bn", {.epsilon = 1e-5F, .momentum = 0.9F}), name + "_relu");
  }
  NodeId conv(NodeId x, const std::string& name, std::int64_t filters, int kernel, int stride) {
    return net_.conv2d(x, name + "_conv", filters, kernel,
                       {.stride = stride, .padding = Padding::all(kernel / 2), .bias = false});
  }
  NodeId block(NodeId x, const std::string& name, std::int64_t filters, int stride) {
    const NodeId first = norm_relu(x, name + "_1");
    const NodeId straight = net_.output(x).back() == filters ? x : conv(first, name + "_0", filters, 1, stride);
    NodeId y = conv(first, name + "_1", filters, 3, stride);
    y = conv(norm_relu(y, name + "_2"), name + "_2", filters, 3, 1);
    return net_.add(straight, y, name + "_add");
  }

  GraphBuilder net_;
  std::int64_t classes_;
  double widening_;
};

}  // namespace

Graph wide_resnet_28_10(const NetworkOptions& options) { return WideResNet(options).make(); }

}  // namespace brigade::network
