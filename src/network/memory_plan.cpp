// Lifetimes first, then places.
//
// What backward needs from forward, by the contracts in brigade/ops: convolutions and dense layers their x, and
// their y if they apply an activation; batch norm its x and the statistics; ReLU its y; max pool the winners;
// average pool, dropout and flatten nothing.
//
// In place is allowed even for the y of a layer with a fused ReLU: its backward only asks where y > 0, and what
// runs in place on it (dropout, ReLU) keeps that sign wherever the gradient it hands back is not zero.
#include "memory_plan.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include "brigade/core/error.hpp"
#include "brigade/network/executor.hpp"
#include "fuse_activation.hpp"

namespace brigade::network {
namespace {

std::int64_t padded(std::int64_t bytes) { return (bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment; }

template <class Op>
bool is(const Node& node) {
  return std::holds_alternative<Op>(node.operation);
}

bool has_parameters(const Node& node) {
  return is<ops::Conv2d>(node) || is<ops::Dense>(node) || is<ops::BatchNorm>(node);
}

// The output is the input's bytes: as a view, or computed in place. (Nobody else reads them: a graph is a chain.)
bool shares_input(const Node& node, bool training) {
  return is<Flatten>(node) || is<ops::Relu>(node) || is<ops::Dropout>(node) || (is<ops::BatchNorm>(node) && !training);
}

// The gradient of the input may overwrite the gradient of the output.
bool shares_gradient(const Node& node) {
  return is<Flatten>(node) || is<ops::Relu>(node) || is<ops::Dropout>(node) || is<ops::BatchNorm>(node);
}

bool backward_reads_input(const Node& node) {
  return is<ops::Conv2d>(node) || is<ops::Dense>(node) || is<ops::BatchNorm>(node);
}

bool backward_reads_output(const Node& node) {
  if (const auto* conv = std::get_if<ops::Conv2d>(&node.operation)) return conv->activation != ops::Activation::none;
  if (const auto* dense = std::get_if<ops::Dense>(&node.operation)) return dense->activation != ops::Activation::none;
  return is<ops::Relu>(node);
}

class Planner {
 public:
  Planner(const Graph& graph, std::int64_t batch, bool training)
      : graph_(graph), batch_(batch), training_(training), time_{static_cast<int>(graph.nodes.size())} {
    plan_.nodes.resize(graph.nodes.size());
  }

  MemoryPlan run() && {
    plan_values();
    plan_results();
    if (training_) plan_backward();
    plan_.bytes = place_blocks(plan_.blocks);
    return std::move(plan_);
  }

 private:
  const Node& node(NodeId id) const { return graph_.nodes[static_cast<std::size_t>(id)]; }
  NodeBlocks& blocks(NodeId id) { return plan_.nodes[static_cast<std::size_t>(id)]; }
  Block& block(int index) { return plan_.blocks[static_cast<std::size_t>(index)]; }
  NodeId last_node() const { return time_.nodes - 1; }

  int add(std::string name, std::int64_t bytes, int first, int last) {
    plan_.blocks.push_back({.name = std::move(name), .bytes = padded(bytes), .first = first, .last = last});
    return static_cast<int>(plan_.blocks.size()) - 1;
  }
  std::int64_t value_bytes(NodeId id) const { return batch_ * node(id).output.size() * std::int64_t{sizeof(float)}; }
  void keep_until(int index, int moment) { block(index).last = std::max(block(index).last, moment); }

  void plan_values() {
    for (NodeId id = 0; id < time_.nodes; ++id) {
      const int now = time_.forward(id);
      for (const NodeId input : node(id).inputs) keep_until(blocks(input).value, now);
      if (shares_input(node(id), training_)) {
        blocks(id).value = blocks(node(id).inputs.front()).value;
        keep_until(blocks(id).value, now);
      } else {
        blocks(id).value = add(node(id).name, value_bytes(id), now, now);
      }
    }
    keep_until(blocks(last_node()).value, time_.loss());
  }

  // Labels arrive first; loss and ranks are read by the caller when the step is over.
  void plan_results() {
    plan_.labels = add("labels", batch_ * std::int64_t{sizeof(std::int32_t)}, 0, time_.loss_gradient());
    plan_.loss = add("loss", batch_ * std::int64_t{sizeof(float)}, time_.loss(), time_.end());
    plan_.label_rank = add("label rank", batch_ * std::int64_t{sizeof(std::int32_t)}, time_.loss(), time_.end());
    plan_.probabilities = add("probabilities", value_bytes(last_node()), time_.loss(), time_.loss());
  }

  void plan_backward() {
    std::vector<bool> wanted;  // gradient of the node's value: some parameter lies at it or upstream
    for (NodeId id = 0; id < time_.nodes; ++id) {
      bool upstream = false;
      for (const NodeId input : node(id).inputs) upstream = upstream || wanted[static_cast<std::size_t>(input)];
      wanted.push_back(upstream || has_parameters(node(id)));
      if (wanted.back()) keep_for_backward(id, upstream);
    }
    keep_until(blocks(last_node()).value, time_.loss_gradient());
    for (NodeId id = last_node(); id > 0 && wanted[static_cast<std::size_t>(id)]; --id) plan_gradient(id);
  }

  void keep_for_backward(NodeId id, bool input_gradient) {
    const int now = time_.backward(id);
    const std::string& name = node(id).name;
    if (backward_reads_input(node(id))) keep_until(blocks(node(id).inputs.front()).value, now);
    if (backward_reads_output(node(id))) keep_until(blocks(id).value, now);
    if (is<ops::MaxPool>(node(id)) && input_gradient)
      blocks(id).winners = add("winners of " + name, batch_ * node(id).output.size(), time_.forward(id), now);
    if (const auto* bn = std::get_if<ops::BatchNorm>(&node(id).operation))
      blocks(id).statistics =
          add("statistics of " + name, 2 * bn->channels * std::int64_t{sizeof(float)}, time_.forward(id), now);
  }

  // The gradient of a node's value is written by its user's backward (or the loss), read by its own.
  void plan_gradient(NodeId id) {
    int& gradient = blocks(id).gradient;
    if (id == last_node()) {
      const int logits = blocks(id).value;
      const bool in_place = block(logits).last == time_.loss_gradient();  // nobody needs the logits afterwards
      gradient = in_place ? logits : add("gradient of " + node(id).name, value_bytes(id), time_.loss_gradient(), 0);
    } else {
      const NodeId user = id + 1;  // a graph is a chain (GraphBuilder::finish)
      gradient = shares_gradient(node(user))
                     ? blocks(user).gradient
                     : add("gradient of " + node(id).name, value_bytes(id), time_.backward(user), 0);
    }
    keep_until(gradient, time_.backward(id));
  }

  const Graph& graph_;
  const std::int64_t batch_;
  const bool training_;
  const Timeline time_;
  MemoryPlan plan_;
};

bool meet_in_time(const Block& a, const Block& b) { return a.first <= b.last && b.first <= a.last; }

// The smallest gap between `obstacles` (sorted by offset) that takes `bytes`, or their end.
std::int64_t best_gap(std::span<const Block* const> obstacles, std::int64_t bytes) {
  std::int64_t free_from = 0, best = -1, best_size = 0;
  for (const Block* obstacle : obstacles) {
    const std::int64_t gap = obstacle->offset - free_from;
    if (gap >= bytes && (best < 0 || gap < best_size)) {
      best = free_from;
      best_size = gap;
    }
    free_from = std::max(free_from, obstacle->offset + obstacle->bytes);
  }
  return best >= 0 ? best : free_from;
}

}  // namespace

// Greedy by size: the largest block first, each into the smallest gap that its contemporaries leave.
// Pisarchyk, Lee, "Efficient memory management for deep neural net inference", arXiv:2001.03288, section 5.
std::int64_t place_blocks(std::vector<Block>& blocks) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return blocks[i].bytes; });

  std::int64_t bytes = 0;
  std::vector<const Block*> placed, obstacles;
  for (const std::size_t i : order) {
    Block& block = blocks[i];
    obstacles.clear();
    std::ranges::copy_if(placed, std::back_inserter(obstacles),
                         [&](const Block* b) { return meet_in_time(*b, block); });
    std::ranges::sort(obstacles, {}, &Block::offset);
    block.offset = best_gap(obstacles, block.bytes);
    bytes = std::max(bytes, block.offset + block.bytes);
    placed.push_back(&block);
  }
  return bytes;
}

MemoryPlan plan_memory(const Graph& graph, std::int64_t batch, bool training) {
  require<OptionError>(batch >= 1, "a batch of {} images cannot be computed. Ask for at least 1?", batch);
  return Planner(graph, batch, training).run();
}

std::int64_t planned_bytes(const Graph& graph, std::int64_t batch, bool training) {
  return plan_memory(fuse_activation(graph), batch, training).bytes;
}

}  // namespace brigade::network
