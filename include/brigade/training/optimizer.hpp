/// Optimizers and learning-rate schedules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "brigade/core/memory.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/ops/backend.hpp"

namespace brigade::training {

enum class OptimizerKind : std::uint8_t { sgd, adam };
enum class ScheduleKind : std::uint8_t { constant, cosine };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::sgd;
  float learning_rate = 0.05F;
  float momentum = 0.9F;   ///< SGD
  bool nesterov = false;   ///< SGD
  float weight_decay = 0;  ///< added to the gradient of kernels; never of biases and batch norms
  ScheduleKind schedule = ScheduleKind::constant;
  std::int64_t warmup_steps = 0;  ///< learning rate rises linearly over these (Goyal et al. 2017, section 2.2)
};

/// Learning rate of step `step` (from 0) of `total_steps`. Cosine: Loshchilov and Hutter, "SGDR", ICLR 2017,
/// eq. 5 without restarts, down to 0.
float learning_rate(const OptimizerOptions& options, std::int64_t step, std::int64_t total_steps);

/// Number of values of neighbouring parameters.
std::int64_t parameter_floats(const std::vector<network::FlatTensor>& parameters);

/// Updates weights from (reduced) gradients and owns the optimizer's state.
class Optimizer {
 public:
  /// `parameters`: neighbouring ranges of flat weights, from 0 on.
  Optimizer(const OptimizerOptions& options, const std::vector<network::FlatTensor>& parameters, ops::Backend& backend);

  /// Both flat, laid out as the parameters. `step` counts from 0.
  void apply(ConstTensorView gradients, TensorView weights, std::int64_t step, float learning_rate);

  /// Names of the state arrays ("velocity"; "first_moment", "second_moment"), and each array, flat.
  const std::vector<std::string>& state_names() const { return names_; }
  TensorView state(std::size_t index);

 private:
  struct Span {  // neighbouring parameters that share weight decay are updated as one
    std::int64_t offset, size;
    bool decay;
  };
  OptimizerOptions options_;
  ops::Backend* backend_;
  Shape shape_;  // of all parameters, flat
  std::vector<Span> spans_;
  std::vector<std::string> names_;
  std::vector<Buffer> states_;
};

}  // namespace brigade::training
