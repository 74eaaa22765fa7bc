// Where each tensor of a pass lies in one arena, decided before the first step.
//
// A training step is a line of moments: the forward pass of node 0, 1, ..., n-1, the loss, the gradient of the
// loss, the backward pass of node n-1, ..., 1. A block is a range of bytes with the moments between which its
// content matters; blocks whose moments do not meet may share bytes, so gradients live where activations died.
// Tensors that may be the same bytes by the contracts of the operations (flatten, ReLU in place, the gradient
// through batch norm, ...) are one block from the start, where nobody else wants what would be overwritten.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "brigade/network/graph.hpp"

namespace brigade::network {

struct Block {
  std::string name;         // for people: "conv1", "gradient of conv1", "winners of pool1"
  std::int64_t bytes = 0;   // at the largest batch; a multiple of kBlockAlignment
  int first = 0, last = 0;  // moments of the first writing and the last reading
  std::int64_t offset = 0;  // into the arena
};

inline constexpr std::int64_t kBlockAlignment = 64;

// The moments of a pass over a graph of `nodes` nodes.
struct Timeline {
  int nodes;
  int forward(NodeId node) const { return node; }
  int loss() const { return nodes; }
  int loss_gradient() const { return nodes + 1; }
  int backward(NodeId node) const { return 2 * nodes + 1 - node; }
  int end() const { return 2 * nodes + 2; }
};

// Where a node's backward pass writes the gradient of one of its inputs. The last reader of a tensor, whose backward is
// the first to run, writes the tensor's gradient itself; each other reader writes a block of its own, which is then
// added. So the sum has one order, and one reader costs no addition.
struct InputGradient {
  int block = -1;    // -1: not wanted
  bool add = false;  // to the gradient of the input
};

// Indices of a node's blocks; -1: it has none.
struct NodeBlocks {
  int value = -1;
  int gradient = -1;    // of the value; -1 where no parameter lies upstream
  int winners = -1;     // max pool in training: u8, one an output element
  int statistics = -1;  // batch norm in training: mean and (biased) variance of the micro-batch
  std::vector<InputGradient> input_gradients = {};  // in training: by input
};

struct MemoryPlan {
  std::vector<Block> blocks;
  std::vector<NodeBlocks> nodes;  // by NodeId
  int labels = -1, loss = -1, label_rank = -1, probabilities = -1;
  std::int64_t bytes = 0;  // of the arena
};

MemoryPlan plan_memory(const Graph& graph, std::int64_t batch, bool training);

// Gives each block its offset, so that blocks alive at the same moment do not overlap; returns the bytes needed.
std::int64_t place_blocks(std::vector<Block>& blocks);

}  // namespace brigade::network
