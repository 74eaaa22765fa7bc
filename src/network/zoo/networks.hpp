// One function per network of the zoo, each in a file of its own that reads like the paper's table.
#pragma once

#include "brigade/network/zoo.hpp"

namespace brigade::network {

Graph alexnet(const NetworkOptions& options);
Graph densenet121(const NetworkOptions& options);
Graph densenet169(const NetworkOptions& options);
Graph densenet201(const NetworkOptions& options);
Graph fashion_cnn(const NetworkOptions& options);
Graph inception_resnet_v2(const NetworkOptions& options);
Graph inception_v3(const NetworkOptions& options);
Graph lenet5(const NetworkOptions& options);
Graph mobilenet(const NetworkOptions& options);
Graph mobilenet_v2(const NetworkOptions& options);
Graph resnet9(const NetworkOptions& options);
Graph resnet18(const NetworkOptions& options);
Graph resnet34(const NetworkOptions& options);
Graph resnet50(const NetworkOptions& options);
Graph tiny_model1(const NetworkOptions& options);
Graph tiny_model2(const NetworkOptions& options);
Graph vgg16(const NetworkOptions& options);
Graph wide_resnet_28_10(const NetworkOptions& options);

// The caller's wish, or else the network's usual value.
inline std::int64_t or_usual(std::int64_t wish, std::int64_t usual) { return wish == 0 ? usual : wish; }

}  // namespace brigade::network
