// A graph with what the passes decided about its nodes. The planner gives the values bytes accordingly, the executor
// carries it out. Training and evaluation have a schedule each.
//
// The order of the passes: activations are fused and (in evaluation) batch norms folded, which changes the graph; then
// it is decided which batch norms are never stored, whose statistics come from where, which values are parts of a
// concatenation, which batch norms' gradients are never stored, who finishes the gradients of tensors with several
// readers, who makes sums and gradients on reading, which biases have no gradient, what is kept in bf16, and, by the
// memory that all this needs, which values are computed twice.
#pragma once

#include <vector>

#include "brigade/network/graph.hpp"
#include "brigade/network/passes.hpp"
#include "brigade/network/precision.hpp"

namespace brigade::network {

struct Treatment {
  NodeId part_of = -1;              // its value is a range of channels of this concatenation's; -1: has its own bytes
  std::int64_t first_channel = 0;   // where that range begins
  bool shares_statistics = false;   // its statistics are the same range of that concatenation's
  bool normalised_on_read = false;  // batch norm: never stored, the readers normalise its input
  bool recomputed = false;          // dies with its last reader in forward, is computed again for those in backward
  bool gradient_through = false;    // batch norm: its only reader takes the gradient through it
  bool adds_rest = false;           // ... and is not the first in backward to leave something to subtract
  bool centred = false;             // what such readers left is subtracted before its backward pass
  NodeId finished_by = -1;          // this reader adds up, masks and sums its gradient (ops::SharedGradient)
  bool sums_given = false;          // batch norm: by the reader that finishes the gradient of the sum it is part of
  NodeId made_by = -1;              // sum: this convolution, its first reader, computes it
  bool gradient_made = false;       // batch norm: the convolution before it computes what it would hand back
  bool bias_cancels = false;        // product: those who read it subtract the mean, and the bias with it
  bool stores_statistics = false;   // convolution: forward measures its output
  std::vector<NodeId> measures{};   // batch norm in training: nodes whose values it measures
  int fold = -1;                    // product: index of the batch norm that became part of it
  DType type = DType::f32;          // of its value and the gradient of that
};

// A batch norm that became kernel and bias of a product.
struct Fold {
  NodeId product = -1;
  Node norm;                // as it was
  std::int64_t kernel = 0;  // offsets, in elements, among all folded weights
  std::int64_t bias = 0;
};

struct Schedule {
  Graph graph;
  bool training = true;
  Passes passes;
  std::vector<Treatment> nodes;  // by NodeId
  std::vector<Fold> folds;
  std::int64_t folded_count = 0;  // elements of all folded weights

  const Node& node(NodeId id) const { return graph.nodes[static_cast<std::size_t>(id)]; }
  Treatment& at(NodeId id) { return nodes[static_cast<std::size_t>(id)]; }
  const Treatment& at(NodeId id) const { return nodes[static_cast<std::size_t>(id)]; }
  NodeId end() const { return static_cast<NodeId>(graph.nodes.size()); }
  // The node whose value is read in memory where `id` is read.
  NodeId stored(NodeId id) const { return at(id).normalised_on_read ? node(id).inputs.front() : id; }
  // The batch norm through which a convolution takes its input's gradient; -1: none.
  NodeId taken_through(NodeId id) const {
    const std::vector<NodeId>& inputs = node(id).inputs;
    return !inputs.empty() && at(inputs.front()).gradient_through ? inputs.front() : -1;
  }
  // The sum that a convolution computes as it reads it; -1: none.
  NodeId made_sum(NodeId id) const {
    const std::vector<NodeId>& inputs = node(id).inputs;
    return !inputs.empty() && at(inputs.front()).made_by == id ? inputs.front() : -1;
  }
  // The batch norm whose backward pass a convolution does as it reads its gradient; -1: none.
  NodeId made_norm(NodeId id) const {
    return id + 1 < end() && at(id + 1).gradient_made && node(id + 1).inputs.front() == id ? id + 1 : -1;
  }
  // When the backward pass of a node is carried out: as that of which.
  NodeId backward_with(NodeId id) const { return at(id).gradient_made ? node(id).inputs.front() : id; }
  // The tensor whose gradient a convolution finishes; -1: none.
  NodeId finished(NodeId id) const {
    const std::vector<NodeId>& inputs = node(id).inputs;
    return !inputs.empty() && at(inputs.front()).finished_by == id ? inputs.front() : -1;
  }
};

Schedule make_schedule(const Graph& given, bool training, const Passes& passes, Precision precision = Precision::fp32);

// The passes, each in a file of its own. They expect those before them to be done.
Graph fuse_activation(const Graph& graph);
void fold_batch_norm(Schedule& schedule);
void normalise_on_read(Schedule& schedule);
void concat_in_place(Schedule& schedule);
void producer_statistics(Schedule& schedule);
void gradient_through(Schedule& schedule);
void shared_gradient(Schedule& schedule);
void make_on_read(Schedule& schedule);
void cancel_bias(Schedule& schedule);
void store_bf16(Schedule& schedule);
void recompute(Schedule& schedule);

// Values that could be computed twice, in forward order.
std::vector<NodeId> recomputable(const Schedule& schedule);
// A plan of that many bytes is small enough; no value is computed twice to get below.
std::int64_t enough_bytes(const Schedule& schedule, std::int64_t batch);

}  // namespace brigade::network
