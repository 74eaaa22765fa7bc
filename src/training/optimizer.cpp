#include "brigade/training/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace brigade::training {

float learning_rate(const OptimizerOptions& options, std::int64_t step, std::int64_t total_steps) {
  if (step < options.warmup_steps)
    return options.learning_rate * static_cast<float>(step + 1) / static_cast<float>(options.warmup_steps);
  if (options.schedule == ScheduleKind::constant) return options.learning_rate;
  const auto span = static_cast<double>(std::max<std::int64_t>(1, total_steps - options.warmup_steps));
  const double progress = static_cast<double>(step - options.warmup_steps) / span;
  return static_cast<float>(options.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * std::min(progress, 1.0))));
}

std::int64_t parameter_floats(const std::vector<network::FlatTensor>& parameters) {
  return parameters.empty() ? 0 : parameters.back().offset + parameters.back().size();
}

Optimizer::Optimizer(const OptimizerOptions& options, const std::vector<network::FlatTensor>& parameters,
                     ops::Backend& backend)
    : options_(options), backend_(&backend), shape_{parameter_floats(parameters)} {
  for (const auto& parameter : parameters) {
    const bool decay = parameter.decay && options.weight_decay != 0;
    if (spans_.empty() || spans_.back().decay != decay)
      spans_.push_back({parameter.offset, parameter.size(), decay});
    else
      spans_.back().size += parameter.size();
  }
  names_ = options.kind == OptimizerKind::sgd ? std::vector<std::string>{"velocity"}
                                              : std::vector<std::string>{"first_moment", "second_moment"};
  for (std::size_t i = 0; i < names_.size(); ++i)
    states_.emplace_back(backend.memory(), static_cast<std::size_t>(shape_.size()) * sizeof(float));
}

TensorView Optimizer::state(std::size_t index) { return {states_[index].data(), shape_}; }

void Optimizer::apply(ConstTensorView gradients, TensorView flat_weights, std::int64_t step, float rate) {
  const auto part = [](auto view, const Span& span) {
    view.data = view.template as<float>() + span.offset;
    view.shape = {span.size};
    view.pitch = span.size;
    return view;
  };
  for (const Span& span : spans_) {
    const float decay = span.decay ? options_.weight_decay : 0;
    const auto gradient = part(gradients, span);
    const auto weights = part(flat_weights, span);
    if (options_.kind == OptimizerKind::sgd)
      backend_->update(ops::Sgd{.learning_rate = rate,
                                .momentum = options_.momentum,
                                .nesterov = options_.nesterov,
                                .weight_decay = decay},
                       {.gradient = gradient, .weights = weights, .velocity = part(state(0), span)});
    else
      backend_->update(ops::Adam{.learning_rate = rate, .weight_decay = decay, .step = step + 1},
                       {.gradient = gradient,
                        .weights = weights,
                        .first_moment = part(state(0), span),
                        .second_moment = part(state(1), span)});
  }
}

}  // namespace brigade::training
