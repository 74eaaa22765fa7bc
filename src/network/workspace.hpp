// The memory of an executor, and the tensors in it: each node's views are cut from the arena and the flat arrays.
// Training and evaluation have a program each, in the same arena. Nothing is allocated after the constructor.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "layers.hpp"
#include "memory_plan.hpp"
#include "parameters.hpp"
#include "schedule.hpp"

namespace brigade::network {

// What one kind of pass computes, and where.
struct Program {
  Program(const Graph& graph, const ExecutorOptions& options, bool training, Images images);

  Schedule schedule;
  MemoryPlan plan;
  // By NodeId: index in the graph as given. It finds the parameters, and keys dropout, so that passes change no draw.
  std::vector<std::size_t> given;
};

class Workspace {
 public:
  // Weights and statistics are those to begin with.
  Workspace(const Graph& graph, const ExecutorOptions& options, ops::Backend& backend);

  const Graph& graph() const { return graph_; }  // as given
  const FlatLayout& layout() const { return layout_; }
  const ExecutorOptions& options() const { return options_; }
  const Program& evaluation() const { return evaluation_; }
  const std::optional<Program>& training() const { return training_; }  // if that was prepared

  std::int64_t arena_bytes() const {
    return training_ ? std::max(training_->plan.bytes, evaluation_.plan.bytes) : evaluation_.plan.bytes;
  }
  std::int64_t gradients_offset() const { return options_.reduction_header + layout_.statistics_count; }
  TensorView weights() const { return {weights_.data(), {layout_.parameter_count}}; }
  TensorView statistics() const { return {statistics_.data(), {layout_.statistics_count}}; }
  TensorView reduction() const { return {reduction_.data(), {reduction_size()}}; }
  TensorView parameter(std::size_t index) const;
  TensorView statistic(std::size_t index) const;

  // All that follows is of the pass that begins here.
  void begin(const Program& program, const MicroBatch& batch);

  const Schedule& schedule() const { return program_->schedule; }
  const MemoryPlan& plan() const { return program_->plan; }
  Pass pass() const { return schedule().training ? Pass::training : Pass::evaluation; }
  std::int64_t images() const { return n_; }
  NodeId last_node() const { return schedule().end() - 1; }
  const Node& node(NodeId id) const { return schedule().node(id); }
  const NodeBlocks& blocks(NodeId id) const { return plan().nodes[static_cast<std::size_t>(id)]; }
  const NodeTensors& tensors(NodeId id) const { return layout_.nodes[given(id)]; }

  TensorView at(const Place& place, const Shape& shape, DType type = DType::f32) const;
  // `again`: as it is read in backward. A batch norm normalised on read is its input.
  TensorView value(NodeId id, bool again = false) const;
  TensorView gradient(NodeId id) const;
  std::array<TensorView, 2> batch_statistics(NodeId x) const { return per_channel(blocks(x).statistics, x); }
  // Of a gradient, until it is centred: offset and slope.
  std::array<TensorView, 2> rest(NodeId x) const { return per_channel(blocks(x).rest, x); }
  // Kernel and bias, or gamma and beta. A gamma that is not learnt is 1.
  std::array<TensorView, 2> parameters(NodeId id) const;
  // The views within are valid until the next call.
  Layer layer(NodeId id, bool again = false);
  // What products in evaluation derived from their weights.
  void forget_kept_weights();

 private:
  std::int64_t reduction_size() const {
    return training_ ? gradients_offset() + layout_.parameter_count : options_.reduction_header;
  }
  std::size_t given(NodeId id) const { return program_->given[static_cast<std::size_t>(id)]; }
  DType type(NodeId id) const { return schedule().at(id).type; }
  std::array<TensorView, 2> per_channel(const Place& place, NodeId x) const;
  std::array<TensorView, 2> running_statistics(NodeId norm) const;
  std::array<TensorView, 2> gradients(NodeId id) const;
  template <class ViewOf>
  std::array<TensorView, 2> slots(NodeId id, const Buffer& gamma, const ViewOf& view) const;
  ops::Normalisation normalisation(NodeId norm) const;
  ops::GradientThrough gradient_through(NodeId norm, bool add) const;
  ops::SharedGradient shared_gradient(NodeId x, bool add) const;
  ops::Conv2d::MadeSum made_sum(NodeId sum) const;
  ops::Conv2d::MadeGradient made_gradient(NodeId norm) const;
  void add_training(Layer& layer, NodeId id, bool again);
  void add_statistics(Layer& layer, NodeId norm) const;

  const Graph graph_;
  const FlatLayout layout_;
  const ExecutorOptions options_;
  const Images where_images_;
  const Program evaluation_;
  const std::optional<Program> training_;
  const Buffer arena_, weights_, statistics_, reduction_;
  const Buffer unit_gamma_, unused_gradient_;  // of batch norms that learn no gamma
  const Buffer group_gradients_;               // of the batch norm at work, with a group

  // Of the layer at work:
  std::vector<ConstTensorView> inputs_;
  std::vector<TensorView> input_gradients_;
  std::vector<Measurement> measurements_;
  // By NodeId of the evaluation. Only if there is no training: it evaluates in large batches, which need not keep what
  // costs as much memory as the weights.
  std::vector<ops::KeptWeights> kept_weights_;

  // Of the pass:
  const Program* program_ = &evaluation_;
  const float* borrowed_images_ = nullptr;
  std::int64_t n_ = 0, first_sample_ = 0, step_ = 0;
};

std::size_t index_of(const Graph& graph, const Node& node);

}  // namespace brigade::network
