#include "fuse_activation.hpp"

#include <utility>

namespace brigade::network {
namespace {

// The place for an activation in an operation's attributes; null if it has none.
ops::Activation* activation_of(Operation& operation) {
  return std::visit(
      [](auto& op) -> ops::Activation* {
        if constexpr (requires { op.activation; })
          return &op.activation;
        else
          return nullptr;
      },
      operation);
}

}  // namespace

Graph fuse_activation(const Graph& graph) {
  std::vector<int> users(graph.nodes.size(), 0);
  for (const Node& node : graph.nodes)
    for (const NodeId input : node.inputs) ++users[static_cast<std::size_t>(input)];

  Graph fused{.name = graph.name, .citation = graph.citation, .nodes = {}};
  std::vector<NodeId> renumbered;  // old node -> new node
  for (const Node& node : graph.nodes) {
    if (std::holds_alternative<ops::Relu>(node.operation)) {
      const auto producer = static_cast<std::size_t>(node.inputs.front());
      const NodeId target = renumbered[producer];
      ops::Activation* activation = activation_of(fused.nodes[static_cast<std::size_t>(target)].operation);
      if (activation != nullptr && *activation == ops::Activation::none && users[producer] == 1) {
        *activation = ops::Activation::relu;
        renumbered.push_back(target);
        continue;
      }
    }
    Node copy = node;
    for (NodeId& input : copy.inputs) input = renumbered[static_cast<std::size_t>(input)];
    renumbered.push_back(static_cast<NodeId>(fused.nodes.size()));
    fused.nodes.push_back(std::move(copy));
  }
  return fused;
}

}  // namespace brigade::network
