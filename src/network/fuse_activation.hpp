// A ReLU or ReLU6 that alone reads a convolution, a dense layer, a batch norm or a sum becomes part of it: the value is
// clamped before it is stored, which saves one reading and one writing of the whole tensor in each direction.
#pragma once

#include "brigade/network/graph.hpp"

namespace brigade::network {

// The same function with fewer nodes; names of the remaining nodes and the order of parameters stay.
Graph fuse_activation(const Graph& graph);

}  // namespace brigade::network
