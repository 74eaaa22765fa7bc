// Lifetimes first, then places.
//
// What backward needs from forward, by the contracts in brigade/ops: convolutions and dense layers their x, and
// their y if they apply an activation; batch norm its x and the statistics; ReLU its y; a sum its y if it applies an
// activation; max pool the winners; the others nothing.
//
// An operation may compute in place if it is its input's only reader and backward does not want the input either. One
// liberty more: the y of a layer with a ReLU may be overwritten by dropout or ReLU, for its backward only asks where
// y > 0, and those keep that sign wherever the gradient they hand back is not zero. (The upper bound of a ReLU6 does
// not survive dropout's scaling.)
#include "memory_plan.hpp"

#include <algorithm>
#include <concepts>
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

bool is_product(const Node& node) {
  return is<ops::Conv2d>(node) || is<ops::DepthwiseConv2d>(node) || is<ops::Dense>(node);
}

bool has_parameters(const Node& node) { return is_product(node) || is<ops::BatchNorm>(node); }

// The gradient of an input may overwrite the gradient of the output.
bool shares_gradient(const Node& node) {
  return is<Flatten>(node) || is<ops::Relu>(node) || is<ops::Dropout>(node) || is<ops::BatchNorm>(node) ||
         is<ops::Add>(node);
}

// Backward spoils the gradient of the output (flatten: hands it on to one that may).
bool spoils_gradient(const Node& node) { return is_product(node) || is<Flatten>(node); }

bool backward_reads_input(const Node& node) { return is_product(node) || is<ops::BatchNorm>(node); }

bool backward_reads_output(const Node& node) {
  if (is<ops::BatchNorm>(node)) return false;  // its activation is found again from x
  return std::visit(
      [](const auto& op) {
        if constexpr (requires { op.activation; }) return op.activation != ops::Activation::none;
        return std::same_as<std::remove_cvref_t<decltype(op)>, ops::Relu>;
      },
      node.operation);
}

// The node stores values clamped from above.
bool clamps(const Node& node) {
  if (const auto* relu = std::get_if<ops::Relu>(&node.operation)) return relu->max < ops::Relu{}.max;
  return std::visit(
      [](const auto& op) {
        if constexpr (requires { op.activation; }) return op.activation == ops::Activation::relu6;
        return false;
      },
      node.operation);
}

// What the planner knows about the bytes of a node's value.
struct ValueState {
  bool exclusive = false;  // one reader in all
  bool kept = false;       // the backward pass of who wrote them reads them
  bool clamped = false;    // ... and asks for an upper bound
};

class Planner {
 public:
  Planner(const Graph& graph, std::int64_t batch, bool training)
      : graph_(graph), batch_(batch), training_(training), time_{static_cast<int>(graph.nodes.size())} {
    plan_.nodes.resize(graph.nodes.size());
    states_.resize(graph.nodes.size());
    readers_.resize(graph.nodes.size());
    for (NodeId id = 0; id < time_.nodes; ++id)
      for (const NodeId input : node(id).inputs) readers_[static_cast<std::size_t>(input)].push_back(id);
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

  // The input whose bytes the node's value takes: as a view, or computed in place; -1: none.
  NodeId shared_input(NodeId id) const {
    const Node& n = node(id);
    const auto spare = [&](NodeId input) { return state(input).exclusive && !(training_ && state(input).kept); };
    if (is<ops::Add>(n)) return spare(n.inputs[1]) ? n.inputs[1] : spare(n.inputs[0]) ? n.inputs[0] : -1;
    if (n.inputs.empty()) return -1;
    const NodeId input = n.inputs.front();
    const bool in_place = is<ops::Relu>(n) || (is<ops::Dropout>(n) && !(training_ && state(input).clamped)) ||
                          (is<ops::BatchNorm>(n) && !training_);
    return is<Flatten>(n) || (in_place && state(input).exclusive) ? input : -1;
  }

  void plan_values() {
    for (NodeId id = 0; id < time_.nodes; ++id) {
      const int now = time_.forward(id);
      for (const NodeId input : node(id).inputs) keep_until(blocks(input).value, now);
      const NodeId shared = shared_input(id);
      const ValueState before = shared < 0 ? ValueState{.exclusive = true} : state(shared);
      const bool kept = backward_reads_output(node(id));
      states_[static_cast<std::size_t>(id)] = {.exclusive = before.exclusive && readers(id).size() == 1,
                                               .kept = before.kept || kept,
                                               .clamped = before.clamped || (kept && clamps(node(id)))};
      blocks(id).value = shared < 0 ? add(node(id).name, value_bytes(id), now, now) : blocks(shared).value;
      keep_until(blocks(id).value, now);
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
    if (!wanted.back()) return;
    plan_last_gradient();
    for (NodeId id = last_node(); id > 0; --id)
      if (wanted[static_cast<std::size_t>(id)]) plan_input_gradients(id, wanted);
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

  void plan_last_gradient() {
    const int logits = blocks(last_node()).value;
    const bool in_place = block(logits).last == time_.loss_gradient();  // nobody needs the logits afterwards
    hold(last_node(), in_place ? logits : add_gradient(last_node(), time_.loss_gradient()));
  }

  // A block may hold the gradients of several nodes, as long as they are the same numbers.
  void hold(NodeId id, int gradient) {
    blocks(id).gradient = gradient;
    holders_.resize(std::max(holders_.size(), static_cast<std::size_t>(gradient) + 1));
    ++holders_[static_cast<std::size_t>(gradient)];
  }
  int add_gradient(NodeId of, int now) { return add("gradient of " + node(of).name, value_bytes(of), now, now); }

  // Blocks for what the backward pass of node `id` writes. It is the last to read its own gradient; whether it may also
  // overwrite it depends on who else still needs the same block.
  void plan_input_gradients(NodeId id, const std::vector<bool>& wanted) {
    const int now = time_.backward(id);
    const int own = blocks(id).gradient;
    keep_until(own, now);
    const bool reusable = --holders_[static_cast<std::size_t>(own)] == 0 && shares_gradient(node(id));
    const auto* sum = std::get_if<ops::Add>(&node(id).operation);
    bool taken = false;  // by an earlier input of this node, as its gradient or to be added to it
    NodeId holder = -1;  // the earlier input
    for (const NodeId input : node(id).inputs) {
      InputGradient& slot = blocks(id).input_gradients.emplace_back();
      if (!wanted[static_cast<std::size_t>(input)]) continue;
      slot.add = blocks(input).gradient >= 0;
      // Two inputs of a sum have one gradient, if nothing happens to it in the meantime.
      const bool free = !taken || (sum->scale == 1 && (slot.add || holder < 0 || may_hold_both(holder, input, id)));
      const bool reused = reusable && free;
      slot.block = reused ? own : add_gradient(input, now);
      if (!slot.add) hold(input, slot.block);
      if (reused && !slot.add) holder = input;
      taken = taken || reused;
    }
  }

  // Whether one block can be the gradient of both inputs of the sum `sum`: `second` must have read it, without spoiling
  // it, before anybody adds to the gradient of `first` or `first` itself uses it.
  bool may_hold_both(NodeId first, NodeId second, NodeId sum) const {
    return first < second && readers(second).size() == 1 && !spoils_gradient(node(second)) &&
           std::ranges::all_of(readers(first), [&](NodeId reader) { return reader == sum || reader < second; });
  }

  const ValueState& state(NodeId id) const { return states_[static_cast<std::size_t>(id)]; }
  const std::vector<NodeId>& readers(NodeId id) const { return readers_[static_cast<std::size_t>(id)]; }

  const Graph& graph_;
  const std::int64_t batch_;
  const bool training_;
  const Timeline time_;
  std::vector<ValueState> states_;            // by NodeId
  std::vector<std::vector<NodeId>> readers_;  // by NodeId, in forward order, once for each input
  std::vector<int> holders_;                  // by block: nodes whose gradient it is and that have not read it yet
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
