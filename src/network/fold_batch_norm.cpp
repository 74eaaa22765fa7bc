// Evaluation: batch norm is a multiplication and an addition of numbers that no longer change, so where it alone reads
// a product without an activation it becomes part of the product's kernel and bias,
//
//     w' = w * s,   bias' = beta + (bias - mean) * s,   s = gamma / sqrt(variance + epsilon)   per output channel,
//
// and its activation becomes the product's. Jacob et al., "Quantization and Training of Neural Networks ...", CVPR
// 2018, section 3.2. The executor computes w' and bias' when they are first needed after the weights have changed.
#include <utility>

#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {
namespace {

std::int64_t kernel_size(const Node& product) {
  return std::visit(
      [](const auto& op) -> std::int64_t {
        if constexpr (requires { op.weight_shape(); }) return op.weight_shape().size();
        return 0;
      },
      product.operation);
}

}  // namespace

void fold_batch_norm(Schedule& schedule) {
  const std::vector<int> users = count_users(schedule.graph);
  Graph folded{.name = schedule.graph.name, .citation = schedule.graph.citation, .nodes = {}};
  std::vector<NodeId> renumbered;  // old node -> new node
  schedule.nodes.clear();
  for (Node& node : schedule.graph.nodes) {
    if (is<ops::BatchNorm>(node)) {
      const auto producer = static_cast<std::size_t>(node.inputs.front());
      const NodeId target = renumbered[producer];
      Node& product = folded.nodes[static_cast<std::size_t>(target)];
      Treatment& treatment = schedule.nodes[static_cast<std::size_t>(target)];
      if (is_product(product) && activation_of(product) == ops::Activation::none && users[producer] == 1 &&
          treatment.fold < 0) {
        *activation_place(product) = activation_of(node);
        const std::int64_t kernel = schedule.folded_count, bias = kernel + kernel_size(product);
        schedule.folded_count = bias + channels(node);
        treatment.fold = static_cast<int>(schedule.folds.size());
        schedule.folds.push_back({.product = target, .norm = std::move(node), .kernel = kernel, .bias = bias});
        renumbered.push_back(target);
        continue;
      }
    }
    for (NodeId& input : node.inputs) input = renumbered[static_cast<std::size_t>(input)];
    renumbered.push_back(static_cast<NodeId>(folded.nodes.size()));
    folded.nodes.push_back(std::move(node));
    schedule.nodes.emplace_back();
  }
  schedule.graph = std::move(folded);
}

}  // namespace brigade::network
