#include "conv_cases.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include "brigade/core/error.hpp"

namespace brigade::benchmarks {
namespace {

bool same_shape(const ConvCase& a, const ConvCase& b) {
  const auto key = [](const ConvCase& c) {
    const auto& o = c.conv;
    return std::tuple(o.in_channels, o.out_channels, o.kernel_h, o.kernel_w, o.stride_h, o.stride_w, o.pad_top,
                      o.pad_left, o.pad_bottom, o.pad_right, o.groups, c.data_gradient, c.kind);
  };
  return a.x == b.x && key(a) == key(b);
}

void add(std::vector<ConvCase>& cases, const ConvCase& one) {
  const auto known = std::ranges::find_if(cases, [&](const ConvCase& c) { return same_shape(c, one); });
  if (known == cases.end())
    cases.push_back(one);
  else
    ++known->count;
}

}  // namespace

std::string describe(const ConvCase& c) {
  const auto& o = c.conv;
  if (c.kind == ConvKind::dense) return fmt::format("{} -> {}", o.in_channels, o.out_channels);
  const std::string window = fmt::format(
      "{}x{}/{}", o.kernel_h, o.kernel_w,
      o.stride_h == o.stride_w ? fmt::format("{}", o.stride_h) : fmt::format("{}x{}", o.stride_h, o.stride_w));
  const std::string image = fmt::format("{}x{}x{}", c.x[1], c.x[2], c.x[3]);
  if (c.kind == ConvKind::depthwise) return fmt::format("{}, {} depthwise", image, window);
  return fmt::format("{} -> {}, {}{}", image, o.out_channels, window,
                     o.groups > 1 ? fmt::format(" in {} groups", o.groups) : "");
}

std::string_view name_of(ConvKind kind) {
  return std::array{"convolution", "depthwise", "dense"}[static_cast<std::size_t>(kind)];
}

std::string_view name_of(ConvPass pass) {
  return std::array{"forward", "backward-data", "backward-weights"}[static_cast<std::size_t>(pass)];
}

double least_bytes(const ConvCase& c, network::Precision precision) {
  const auto activations = static_cast<double>(c.x.size() + c.conv.output_shape(c.x).size());
  const auto weights = static_cast<double>(c.conv.weight_shape().size());
  return activations * static_cast<double>(size_of(activation_type(precision))) + weights * sizeof(float);
}

std::vector<ConvCase> resnet50_convolutions(std::int64_t batch) {
  std::vector<ConvCase> cases;
  // A square convolution that reads `size` x `size` pixels, padded so that stride 1 keeps them.
  const auto conv = [&](std::int64_t size, std::int64_t in, std::int64_t out, int kernel, int stride) {
    const int pad = kernel / 2;
    add(cases, {.conv = {.in_channels = in,
                         .out_channels = out,
                         .kernel_h = kernel,
                         .kernel_w = kernel,
                         .stride_h = stride,
                         .stride_w = stride,
                         .pad_top = pad,
                         .pad_left = pad,
                         .pad_bottom = pad,
                         .pad_right = pad},
                .x = {batch, size, size, in},
                .data_gradient = in != 3});
    return size / stride;
  };
  conv(224, 3, 64, 7, 2);
  std::int64_t size = 56;  // after max-pooling
  std::int64_t in = 64;
  struct Stage {
    std::int64_t width;
    int blocks, stride;
  };
  for (const Stage& stage : {Stage{64, 3, 1}, Stage{128, 4, 2}, Stage{256, 6, 2}, Stage{512, 3, 2}})
    for (int block = 0; block < stage.blocks; ++block) {
      const int stride = block == 0 ? stage.stride : 1;
      if (block == 0) conv(size, in, 4 * stage.width, 1, stride);  // the shortcut
      conv(size, in, stage.width, 1, 1);
      size = conv(size, stage.width, stage.width, 3, stride);
      in = 4 * stage.width;
      conv(size, stage.width, in, 1, 1);
    }
  return cases;
}

std::vector<ConvCase> convolutions_of(const network::Graph& graph, std::int64_t batch) {
  std::vector<ConvCase> cases;
  for (const auto& node : graph.nodes) {
    if (node.inputs.empty()) continue;
    ConvCase one{.conv = {},
                 .x = graph.nodes[static_cast<std::size_t>(node.inputs.front())].output.with_batch(batch),
                 .data_gradient = node.inputs.front() != 0};
    if (const auto* conv = std::get_if<ops::Conv2d>(&node.operation)) {
      one.conv = *conv;
    } else if (const auto* depthwise = std::get_if<ops::DepthwiseConv2d>(&node.operation)) {
      one.kind = ConvKind::depthwise;
      one.conv = {.in_channels = depthwise->channels,
                  .out_channels = depthwise->channels,
                  .kernel_h = depthwise->kernel_h,
                  .kernel_w = depthwise->kernel_w,
                  .stride_h = depthwise->stride_h,
                  .stride_w = depthwise->stride_w,
                  .pad_top = depthwise->pad_top,
                  .pad_left = depthwise->pad_left,
                  .pad_bottom = depthwise->pad_bottom,
                  .pad_right = depthwise->pad_right,
                  .groups = depthwise->channels};
    } else if (const auto* dense = std::get_if<ops::Dense>(&node.operation)) {
      one.kind = ConvKind::dense;
      one.conv = {.in_channels = dense->in_features, .out_channels = dense->out_features};
      one.x = {batch, 1, 1, dense->in_features};
    } else {
      continue;
    }
    one.conv.activation = ops::Activation::none;
    add(cases, one);
  }
  require<OptionError>(!cases.empty(), "{} has no convolution to measure. Choose another --network?", graph.name);
  return cases;
}

}  // namespace brigade::benchmarks
