// What is kept in bf16: every value and its gradient but the scores. Those go straight from the sums of the last dense
// layer to the loss, whose small differences bf16 would round away; a factor on them (Scale) changes nothing about
// that.
//
// All passes work on either type; their results then agree to the rounding of bf16: a sum that normalises what it reads
// rounds once less than one that reads what was stored, and a convolution measures its values before they are rounded.
// Where values change their type, a gradient cannot overwrite the one it comes from
// (memory_plan.cpp); that is before a last Scale whose input has other readers.
#include "brigade/core/error.hpp"
#include "nodes.hpp"
#include "schedule.hpp"

namespace brigade::network {

void store_bf16(Schedule& schedule) {
  const auto readers = readers_of(schedule.graph);
  for (Treatment& treatment : schedule.nodes) treatment.type = DType::bf16;
  NodeId scores = schedule.end() - 1;
  const Node& last = schedule.node(scores);
  require<OptionError>(is<ops::Dense>(last) || is<Scale>(last),
                       "{} cannot be computed in bf16 (its scores come from a {}, not from a dense layer). "
                       "Use fp32?",
                       schedule.graph.name, operation_name(last));
  schedule.at(scores).type = DType::f32;
  while (is<Scale>(schedule.node(scores))) {
    scores = schedule.node(scores).inputs.front();
    const Node& node = schedule.node(scores);
    const bool private_input = readers[static_cast<std::size_t>(scores)].size() == 1;
    if (!private_input || !(is<Scale>(node) || is<ops::Dense>(node))) break;
    schedule.at(scores).type = DType::f32;
  }
}

}  // namespace brigade::network
