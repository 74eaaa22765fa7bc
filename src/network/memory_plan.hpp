// Where each tensor of a pass lies in one arena, decided before the first step.
//
// A training step is a line of moments: the forward pass of node 0, 1, ..., n-1, the loss, the gradient of the
// loss, the backward pass of node n-1, ..., 1. A block is a range of bytes with the moments between which its
// content matters; blocks whose moments do not meet may share bytes, so gradients live where activations died.
// Tensors that may be the same bytes by the contracts of the operations (flatten, ReLU in place, the gradient
// through batch norm, ...) are one block from the start, where nobody else wants what would be overwritten; the parts
// of a concatenation are ranges of channels of its block.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "schedule.hpp"

namespace brigade::network {

struct Block {
  std::string name;         // for people: "conv1", "gradient of conv1", "winners of pool1"
  std::int64_t bytes = 0;   // at the largest batch; a multiple of kBlockAlignment
  int first = 0, last = 0;  // moments of the first writing and the last reading
  std::int64_t offset = 0;  // into the arena
  bool borrowed = false;    // not in the arena, but where the caller has the images: no bytes, never written
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

// A tensor in a block: all of it, or a range of channels of a wider tensor.
struct Place {
  int block = -1;  // -1: nowhere
  std::int64_t channel = 0;
  std::int64_t pitch = 0;  // channels of the wider tensor; 0: dense

  explicit operator bool() const { return block >= 0; }
  auto operator<=>(const Place&) const = default;
};

// Where a node's backward pass writes the gradient of one of its inputs. The last reader of a tensor, whose backward is
// the first to run, writes the tensor's gradient itself; each other reader writes a block of its own, which is then
// added. So the sum has one order, and one reader costs no addition.
struct InputGradient {
  Place place = {};  // nowhere: not wanted
  bool add = false;  // to the gradient of the input; what is taken through a batch norm, to that of the norm's input
};

struct NodeBlocks {
  Place value;       // nowhere: normalised on read
  Place again;       // of a recomputed value, in backward
  Place gradient;    // of the value; nowhere if no parameter lies upstream, or if its reader takes it through
  Place winners;     // max pool in training: u8, one an output element
  Place statistics;  // of the value, in training: all means of the (wider) tensor, then all (biased) variances
  Place rest;        // of its gradient, until it is centred: all offsets of the (wider) tensor, then all slopes
  std::vector<InputGradient> input_gradients = {};  // in training: by input
  std::vector<NodeId> recomputes = {};              // values computed again before the node's backward pass, in order
};

// Whether the backend reads the images in the caller's memory or in the arena.
enum class Images { borrowed, uploaded };

struct MemoryPlan {
  std::vector<Block> blocks;
  std::vector<NodeBlocks> nodes;  // by NodeId
  Place images;                   // as they arrive: the value of node 0, unless that has another type
  Place labels, loss, label_rank, probabilities, folded_weights;
  std::int64_t bytes = 0;  // of the arena
};

MemoryPlan plan_memory(const Schedule& schedule, std::int64_t batch, Images images = Images::borrowed);

// Most bytes alive at one moment, with borrowed images: no placing needs fewer, and plan_memory() hardly more.
std::int64_t peak_bytes(const Schedule& schedule, std::int64_t batch);

// The same of blocks.
std::int64_t most_alive(std::span<const Block> blocks);

// Gives each block its offset, so that blocks alive at the same moment do not overlap; returns the bytes needed.
std::int64_t place_blocks(std::vector<Block>& blocks);

}  // namespace brigade::network
