#include "run_checkpoints.hpp"

#include <cstdio>
#include <utility>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/training/checkpoint.hpp"

namespace brigade::training {

RunCheckpoints::RunCheckpoints(const TrainOptions& options, const Plan& plan, network::Executor& executor,
                               Optimizer& optimizer, ops::Backend& backend, communication::Communicator& communicator)
    : options_(options),
      plan_(plan),
      executor_(executor),
      optimizer_(optimizer),
      backend_(backend),
      communicator_(communicator) {}

Progress RunCheckpoints::resume() {
  const auto newest = newest_checkpoint(options_.run / "checkpoints");
  if (!newest) return {};
  Progress progress;
  communication::collectively(communicator_, "reading the checkpoint", [&] { progress = restore_from(*newest); });
  saved_step_ = progress.step;
  if (communicator_.rank() == 0) fmt::print(stderr, "resuming after step {} of {}\n", progress.step, newest->string());
  return progress;
}

Progress RunCheckpoints::restore_from(const std::filesystem::path& checkpoint) {
  const TrainingState state = load_state(checkpoint);
  for (const auto& [name, value] : identity(plan_, options_)) {
    const auto then = state.identity.find(name);
    require<OptionError>(
        then != state.identity.end() && then->second == value,
        "cannot resume {} with another {} (it was {}, now {}). Use the same options, or another --run?",
        options_.run.string(), name, then == state.identity.end() ? "unset" : then->second, value);
  }
  restore(load_model(checkpoint), executor_, backend_);
  require(state.optimizer.size() == optimizer_.state_names().size(), "{} holds the state of another optimizer",
          checkpoint.string());
  for (std::size_t i = 0; i < state.optimizer.size(); ++i) {
    const TensorView target = optimizer_.state(i);
    require(state.optimizer[i].values.size() * sizeof(float) == target.bytes(),
            "the optimizer state in {} does not fit the network", checkpoint.string());
    backend_.upload(state.optimizer[i].values.data(), target.data, target.bytes());
  }
  return {state.step, {state.epoch_loss_sum, state.epoch_correct, state.epoch_train_s, state.epoch_images}};
}

void RunCheckpoints::save(const Progress& progress) {
  communication::collectively(communicator_, "writing a checkpoint", [&] {
    if (communicator_.rank() == 0) write(progress);
  });
  saved_step_ = progress.step;
}

void RunCheckpoints::write(const Progress& progress) {
  TrainingState state{.step = progress.step,
                      .identity = identity(plan_, options_),
                      .epoch_loss_sum = progress.epoch.loss,
                      .epoch_correct = progress.epoch.correct,
                      .epoch_images = progress.epoch.images,
                      .epoch_train_s = progress.epoch.train_s,
                      .optimizer = {}};
  for (std::size_t i = 0; i < optimizer_.state_names().size(); ++i) {
    const TensorView flat = optimizer_.state(i);
    state.optimizer.push_back(
        {optimizer_.state_names()[i], flat.shape, std::vector<float>(static_cast<std::size_t>(flat.shape.size()))});
    backend_.download(flat.data, state.optimizer.back().values.data(), flat.bytes());
  }
  save_checkpoint(options_.run / "checkpoints", {snapshot(plan_.model, executor_, backend_), std::move(state)},
                  options_.keep_checkpoints);
}

}  // namespace brigade::training
