#include "parameters.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "brigade/core/random.hpp"

namespace brigade::network {
namespace {

// Returns the offset of the next.
std::int64_t append(std::vector<FlatTensor>& tensors, FlatTensor tensor) {
  tensors.push_back(std::move(tensor));
  return tensors.back().offset + tensors.back().size();
}

// Uniform in +-sqrt(6 / (fan_in + fan_out)): Glorot, Bengio, "Understanding the difficulty of training deep
// feedforward neural networks", AISTATS 2010, eq. 16. A kernel is [kh, kw, cin, cout] or [in, out]; a depthwise one is
// [kh, kw, channels], where each channel reads and feeds kh * kw values.
void draw_glorot_uniform(const Shape& kernel, const RandomKey& key, std::span<float> values) {
  const bool depthwise = kernel.rank() == 3;
  const std::int64_t in = depthwise ? 1 : kernel[kernel.rank() - 2], out = depthwise ? 1 : kernel.back();
  const std::int64_t taps = depthwise ? kernel[0] * kernel[1] : kernel.size() / (in * out);
  const auto limit = static_cast<float>(std::sqrt(6.0 / static_cast<double>(taps * (in + out))));
  for (std::size_t i = 0; i < values.size(); i += 4) {
    const PhiloxBlock draws = random_block(key, i / 4);
    for (std::size_t j = 0; j < 4 && i + j < values.size(); ++j) values[i + j] = (2 * to_uniform(draws[j]) - 1) * limit;
  }
}

}  // namespace

FlatLayout flat_layout(const Graph& graph) {
  FlatLayout layout;
  for (const Node& node : graph.nodes) {
    NodeTensors tensors{.first_parameter = layout.parameters.size(), .first_statistic = layout.statistics.size()};
    const auto parameter = [&](const char* name, const Shape& shape, bool decay) {
      layout.parameter_count =
          append(layout.parameters,
                 {.name = node.name + name, .shape = shape, .offset = layout.parameter_count, .decay = decay});
      ++tensors.parameters;
    };
    const auto statistic = [&](const char* name, const Shape& shape) {
      layout.statistics_count = append(
          layout.statistics,
          {.name = node.name + name, .shape = shape, .offset = layout.statistics_count, .momentum = node.momentum});
      ++tensors.statistics;
    };
    const auto kernel_and_bias = [&](const auto& op) {
      parameter("/kernel", op.weight_shape(), true);
      if (node.bias) parameter("/bias", {op.weight_shape().back()}, false);
    };
    if (const auto* conv = std::get_if<ops::Conv2d>(&node.operation)) kernel_and_bias(*conv);
    if (const auto* conv = std::get_if<ops::DepthwiseConv2d>(&node.operation)) kernel_and_bias(*conv);
    if (const auto* dense = std::get_if<ops::Dense>(&node.operation)) kernel_and_bias(*dense);
    if (const auto* bn = std::get_if<ops::BatchNorm>(&node.operation)) {
      if (node.scale) parameter("/gamma", {bn->channels}, false);
      parameter("/beta", {bn->channels}, false);
      statistic("/moving_mean", {bn->channels});
      statistic("/moving_variance", {bn->channels});
    }
    layout.nodes.push_back(tensors);
  }
  return layout;
}

std::vector<float> initial_weights(const FlatLayout& layout, std::uint64_t seed) {
  std::vector<float> weights(static_cast<std::size_t>(layout.parameter_count), 0.0F);
  for (std::size_t t = 0; t < layout.parameters.size(); ++t) {
    const FlatTensor& tensor = layout.parameters[t];
    const std::span<float> values(weights.data() + tensor.offset, static_cast<std::size_t>(tensor.size()));
    if (tensor.shape.rank() >= 2) {
      const RandomKey key{.seed = seed, .purpose = Purpose::initial_weights, .stream = static_cast<std::uint32_t>(t)};
      draw_glorot_uniform(tensor.shape, key, values);
    } else if (tensor.name.ends_with("/gamma")) {
      std::ranges::fill(values, 1.0F);
    }
  }
  return weights;
}

std::vector<float> initial_statistics(const FlatLayout& layout) {
  std::vector<float> statistics(static_cast<std::size_t>(layout.statistics_count), 0.0F);
  for (const FlatTensor& tensor : layout.statistics)
    if (tensor.name.ends_with("/moving_variance")) std::fill_n(statistics.begin() + tensor.offset, tensor.size(), 1.0F);
  return statistics;
}

std::int64_t parameter_count(const Graph& graph) { return flat_layout(graph).parameter_count; }
std::int64_t parameter_count(const Node& node) {
  return parameter_count(Graph{.name = {}, .citation = {}, .nodes = {node}});
}
std::int64_t statistics_count(const Graph& graph) { return flat_layout(graph).statistics_count; }

}  // namespace brigade::network
