// What Inception-v3 and Inception-ResNet-v2 share: the layer "conv" of their papers' figures, and the stem.
#pragma once

#include <string>

#include "networks.hpp"

namespace brigade::network {

class Inception {
 public:
  Inception(const char* name, const char* citation, const NetworkOptions& options)
      : net_(name, citation, or_usual(options.height, 299), or_usual(options.width, 299),
             or_usual(options.channels, 3)),
        classes_(or_usual(options.classes, 1000)) {}

 protected:
  // Convolution without bias, batch norm that does not learn a scale (as in Keras, whose momentum is 0.99), ReLU.
  NodeId conv(NodeId x, const std::string& name, std::int64_t filters, Window kernel, int stride = 1,
              const Padding& padding = Padding::same) {
    x = net_.conv2d(x, name + "_conv", filters, kernel, {.stride = stride, .padding = padding, .bias = false});
    x = net_.batch_norm(x, name + "_bn", {.momentum = 0.99F, .scale = false});
    return net_.relu(x, name + "_relu");
  }
  // 299x299 -> 35x35x192.
  NodeId stem() {
    NodeId x = conv(net_.input(), "stem1", 32, 3, 2, Padding::valid);
    x = conv(x, "stem2", 32, 3, 1, Padding::valid);
    x = conv(x, "stem3", 64, 3);
    x = net_.max_pool(x, "stem3_pool", 3, 2);
    x = conv(x, "stem4", 80, 1);
    x = conv(x, "stem5", 192, 3, 1, Padding::valid);
    return net_.max_pool(x, "stem5_pool", 3, 2);
  }
  // Average of the neighbourhood, then a 1x1 convolution.
  NodeId pooled(NodeId x, const std::string& name, std::int64_t filters) {
    return conv(net_.average_pool(x, name + "_pool", 3, 1, Padding::same), name, filters, 1);
  }
  Graph finish(NodeId x) {
    x = net_.global_average_pool(x, "avg_pool");
    net_.dense(x, "predictions", classes_);
    return std::move(net_).finish();
  }

  GraphBuilder net_;

 private:
  std::int64_t classes_;
};

}  // namespace brigade::network
