// A ReLU or ReLU6 that alone reads a convolution, a dense layer, a batch norm or a sum becomes part of it: the value is
// clamped before it is stored, which saves one reading and one writing of the whole tensor in each direction. Names of
// the remaining nodes and the order of parameters stay.
#include <utility>

#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

// What a ReLU would be as a part of its producer; none: another operation, or a clamp that has no name.
ops::Activation as_activation(const Operation& operation) {
  const auto* relu = std::get_if<ops::Relu>(&operation);
  if (relu == nullptr) return ops::Activation::none;
  if (relu->max == ops::Relu{}.max) return ops::Activation::relu;
  return relu->max == 6 ? ops::Activation::relu6 : ops::Activation::none;
}

}  // namespace

Graph fuse_activation(const Graph& graph) {
  const std::vector<int> users = count_users(graph);
  Graph fused{.name = graph.name, .citation = graph.citation, .nodes = {}};
  std::vector<NodeId> renumbered;  // old node -> new node
  for (const Node& node : graph.nodes) {
    const ops::Activation fusible = as_activation(node.operation);
    if (fusible != ops::Activation::none) {
      const auto producer = static_cast<std::size_t>(node.inputs.front());
      const NodeId target = renumbered[producer];
      ops::Activation* activation = activation_place(fused.nodes[static_cast<std::size_t>(target)]);
      if (activation != nullptr && *activation == ops::Activation::none && users[producer] == 1) {
        *activation = fusible;
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
