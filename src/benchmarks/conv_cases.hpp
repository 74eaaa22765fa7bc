// Which convolutions are measured: those of a network, each shape once. Depthwise ones are convolutions with a group
// for each channel, dense layers convolutions of one pixel; their weights lie in memory all the same.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "brigade/network/graph.hpp"
#include "brigade/network/precision.hpp"
#include "brigade/ops/conv2d.hpp"

namespace brigade::benchmarks {

// The operation of the backend that computes it.
enum class ConvKind : std::uint8_t { convolution, depthwise, dense };
std::string_view name_of(ConvKind kind);

struct ConvCase {
  ops::Conv2d conv;
  Shape x;                    // [N, H, W, C]
  int count = 1;              // layers of this shape in the network
  bool data_gradient = true;  // false: x is the image, whose gradient nobody needs
  ConvKind kind = ConvKind::convolution;
};

// "56x56x64 -> 64, 3x3/1", "27x27x96 -> 256, 5x5/1 in 2 groups", "112x112x32, 3x3/1 depthwise", "2048 -> 1000"
std::string describe(const ConvCase& c);

using ConvPass = ops::Conv2d::Pass;
std::string_view name_of(ConvPass pass);

// What each tensor is kept in, gradients like what they are of: weights are float in any precision.
constexpr DType activation_type(network::Precision precision) {
  return precision == network::Precision::bf16 ? DType::bf16 : DType::f32;
}
constexpr DType result_type(ConvPass pass, network::Precision precision) {
  return pass == ConvPass::backward_weights ? DType::f32 : activation_type(precision);
}

// Bytes that a pass, whichever of the three, must read and write: x, w and y (or their gradients), each once.
double least_bytes(const ConvCase& c, network::Precision precision = network::Precision::fp32);

// The 53 convolutions of ResNet-50 on 224x224 images, 23 shapes: He, Zhang, Ren, Sun, "Deep residual learning
// for image recognition", CVPR 2016, table 1, with the stride in the 3x3 convolution (Goyal et al. 2017).
std::vector<ConvCase> resnet50_convolutions(std::int64_t batch);

// Those of a graph, with its dense layers. Activations that follow are left out: this is the bare convolution.
std::vector<ConvCase> convolutions_of(const network::Graph& graph, std::int64_t batch);

}  // namespace brigade::benchmarks
