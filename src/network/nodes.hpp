// Questions about a node that several passes ask. What backward needs from forward follows from the contracts in
// brigade/ops: convolutions and dense layers their x, and their y if they apply an activation; batch norm its x and the
// statistics; ReLU its y; a sum its y if it applies an activation; max pool the winners; the others nothing.
#pragma once

#include <algorithm>
#include <concepts>
#include <type_traits>
#include <utility>
#include <vector>

#include "brigade/network/graph.hpp"

namespace brigade::network {

template <class Op>
bool is(const Node& node) {
  return std::holds_alternative<Op>(node.operation);
}

inline bool is_product(const Node& node) {
  return is<ops::Conv2d>(node) || is<ops::DepthwiseConv2d>(node) || is<ops::Dense>(node);
}

inline bool has_parameters(const Node& node) { return is_product(node) || is<ops::BatchNorm>(node); }

// The place for an activation in an operation's attributes; null if it has none.
inline const ops::Activation* activation_place(const Node& node) {
  return std::visit(
      [](const auto& op) -> const ops::Activation* {
        if constexpr (requires { op.activation; }) return &op.activation;
        return nullptr;
      },
      node.operation);
}
inline ops::Activation* activation_place(Node& node) {
  return const_cast<ops::Activation*>(activation_place(std::as_const(node)));  // NOLINT: ours to write
}

// The activation the operation applies to its output.
inline ops::Activation activation_of(const Node& node) {
  const ops::Activation* activation = activation_place(node);
  return activation == nullptr ? ops::Activation::none : *activation;
}

inline bool backward_reads_input(const Node& node) {
  return is_product(node) || is<ops::BatchNorm>(node) || is<ops::LocalResponseNorm>(node);
}

inline bool backward_reads_output(const Node& node) {
  if (is<ops::BatchNorm>(node)) return false;  // its activation is found again from x
  return is<ops::Relu>(node) || activation_of(node) != ops::Activation::none;
}

inline std::int64_t channels(const Node& node) { return node.output.back(); }

// By node: who reads it, in forward order, once for each input.
inline std::vector<std::vector<NodeId>> readers_of(const Graph& graph) {
  std::vector<std::vector<NodeId>> readers(graph.nodes.size());
  for (std::size_t id = 0; id < graph.nodes.size(); ++id)
    for (const NodeId input : graph.nodes[id].inputs)
      readers[static_cast<std::size_t>(input)].push_back(static_cast<NodeId>(id));
  return readers;
}

// By node: its gradient is wanted, as some parameter lies at it or upstream.
inline std::vector<bool> learning(const Graph& graph) {
  std::vector<bool> learns;
  for (const Node& node : graph.nodes)
    learns.push_back(has_parameters(node) || std::ranges::any_of(node.inputs, [&](NodeId input) {
                       return learns[static_cast<std::size_t>(input)];
                     }));
  return learns;
}

}  // namespace brigade::network
