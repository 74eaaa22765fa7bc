// One function per network of the zoo, each in a file of its own that reads like the paper's table.
#pragma once

#include "brigade/network/zoo.hpp"

namespace brigade::network {

Graph fashion_cnn(const NetworkOptions& options);
Graph lenet5(const NetworkOptions& options);
Graph tiny_model1(const NetworkOptions& options);
Graph tiny_model2(const NetworkOptions& options);

// The caller's wish, or else the network's usual value.
inline std::int64_t or_usual(std::int64_t wish, std::int64_t usual) { return wish == 0 ? usual : wish; }

}  // namespace brigade::network
