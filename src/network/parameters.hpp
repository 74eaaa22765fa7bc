// The flat arrays of learnt values and of batch-norm statistics: which tensor lies where, and what it starts as.
// Tensors follow one another in forward order without gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "brigade/network/executor.hpp"

namespace brigade::network {

// Tensors of a node; a layer has at most two of each kind.
struct NodeTensors {
  std::size_t first_parameter = 0, parameters = 0;  // kernel and bias, or gamma and beta
  std::size_t first_statistic = 0, statistics = 0;  // moving mean and variance
};

struct FlatLayout {
  std::vector<FlatTensor> parameters, statistics;
  std::vector<NodeTensors> nodes;  // by NodeId
  std::int64_t parameter_count = 0, statistics_count = 0;
};

FlatLayout flat_layout(const Graph& graph);

// As promised by Executor's constructor: [parameter_count], [statistics_count].
std::vector<float> initial_weights(const FlatLayout& layout, std::uint64_t seed);
std::vector<float> initial_statistics(const FlatLayout& layout);

}  // namespace brigade::network
