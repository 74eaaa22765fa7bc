#include "brigade/training/running_averages.hpp"

namespace brigade::training {

RunningAverages::RunningAverages(const std::vector<network::FlatTensor>& layout) {
  for (const auto& tensor : layout) {
    if (spans_.empty() || spans_.back().momentum != tensor.momentum)
      spans_.push_back({tensor.offset, tensor.size(), tensor.momentum});
    else
      spans_.back().size += tensor.size();
  }
}

void RunningAverages::follow(ops::Backend& backend, ConstTensorView sums, TensorView averages,
                             std::int64_t micro_batches, float share) const {
  for (const Span& span : spans_) {
    const float towards = share * (1 - span.momentum);
    backend.update(
        ops::Blend{.keep = share == 1 ? span.momentum : 1 - towards,
                   .add = towards / static_cast<float>(micro_batches)},
        {.x = {sums.f32() + span.offset, Shape{span.size}}, .y = {averages.f32() + span.offset, Shape{span.size}}});
  }
}

}  // namespace brigade::training
