// Training: a tensor that is computed element by element, and then read by a 1x1 convolution, is computed by that
// convolution, a block of pixels at a time, right before it multiplies them: what is written is read from a cache, and
// what is read comes from memory while another thread multiplies.
//
//   sum            by the convolution that is its first reader; the others find it in memory
//   batch norm     its dx by the convolution whose output it normalised, if the sums over its dy are given. (It may
//                  overwrite that output, which nobody needs any more.)
//
// Only by neighbours in the order of nodes, so that nothing comes between. (In evaluation, where values die early, a
// summand that lives on beside what the convolution writes costs memory.)
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {

void make_on_read(Schedule& schedule) {
  const auto readers = readers_of(schedule.graph);
  const std::vector<bool> learns = learning(schedule.graph);
  for (NodeId id = 1; id + 1 < schedule.end(); ++id) {
    const NodeId next = id + 1;
    const std::vector<NodeId>& by = readers[static_cast<std::size_t>(id)];
    if (is<ops::Add>(schedule.node(id)) && !by.empty() && by.front() == next)
      if (const auto* conv = std::get_if<ops::Conv2d>(&schedule.node(next).operation); conv && conv->makes_input())
        schedule.at(id).made_by = next;
    const auto* conv = std::get_if<ops::Conv2d>(&schedule.node(id).operation);
    if (conv == nullptr || !conv->makes_gradient() || conv->activation != ops::Activation::none) continue;
    if (!learns[static_cast<std::size_t>(schedule.node(id).inputs.front())]) continue;  // no gradient to be read for
    if (by.size() == 1 && by.front() == next && schedule.at(next).sums_given) schedule.at(next).gradient_made = true;
  }
}

}  // namespace brigade::network
