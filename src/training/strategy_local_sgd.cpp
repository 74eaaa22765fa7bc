#include "strategy.hpp"

namespace brigade::training {

LocalSgd::LocalSgd(communication::Communicator& communicator, const communication::AllreduceOptions& allreduce,
                   network::Executor& executor, Optimizer& optimizer, ops::Backend& backend, StepShare share,
                   float weight, std::int64_t every)
    : reducer_(communicator, allreduce),
      executor_(executor),
      optimizer_(optimizer),
      backend_(backend),
      share_(share),
      weight_(weight),
      every_(every) {}

std::vector<TensorView> LocalSgd::averaged() const {
  std::vector<TensorView> all{executor_.weights(), executor_.statistics()};
  for (std::size_t i = 0; i < optimizer_.state_names().size(); ++i) all.push_back(optimizer_.state(i));
  std::erase_if(all, [](const TensorView& flat) { return flat.shape.size() == 0; });
  return all;
}

std::vector<std::size_t> LocalSgd::summed_bytes() const {
  std::vector<std::size_t> bytes;
  for (const TensorView& flat : averaged()) bytes.push_back(flat.bytes());
  bytes.push_back(sizeof(StepStatus));
  return bytes;
}

void LocalSgd::settle(std::int64_t step, bool boundary, StepStatus& status) {
  since_ += status;
  status = {};
  if (!boundary && (step + 1) % every_ != 0) return;

  for (const TensorView& flat : averaged()) {
    backend_.update(ops::Blend{.keep = weight_, .add = 0}, {.x = flat, .y = flat});
    backend_.synchronize();
    reducer_.add({flat.f32(), static_cast<std::size_t>(flat.shape.size())});
  }
  static_assert(sizeof(StepStatus) == kStatusFloats * sizeof(float));
  reducer_.add({&since_.loss_sum, static_cast<std::size_t>(kStatusFloats)});
  reducer_.finish(fmt::format("the average of weights after step {}", step));
  status = since_;
  since_ = {};
}

}  // namespace brigade::training
