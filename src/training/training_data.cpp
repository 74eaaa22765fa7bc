#include "training_data.hpp"

#include <utility>
#include <vector>

namespace brigade::training {

TrainingData::TrainingData(const TrainOptions& options, const Plan& plan, communication::Communicator& communicator)
    : options_(options),
      plan_(plan),
      communicator_(communicator),
      training_files_(open("train", options.order.shuffle == dataset::Shuffle::block ? options.order.block : 1)) {
  if (plan.validation_split) validation_files_.emplace(open(*plan.validation_split, 1));
}

dataset::SplitFiles TrainingData::open(const std::string& split, std::int64_t read_ahead_samples) const {
  auto reader = options_.reader;
  reader.read_ahead_samples = read_ahead_samples;
  return {options_.dataset, plan_.manifest, split, reader, communicator_, communicator_.node()};
}

dataset::StreamOptions TrainingData::validation_stream() const {
  return {.prefetch = plan_.prefetch,
          .first = 0,
          .mean = plan_.model.mean,
          .stddev = plan_.model.stddev,
          .augmentation = {},
          .seed = options_.seed,
          .height = plan_.model.height,
          .width = plan_.model.width};
}

std::unique_ptr<dataset::BatchStream> TrainingData::training_stream(std::int64_t first_step) const {
  dataset::StreamOptions stream = validation_stream();
  stream.first = first_step;
  stream.augmentation = options_.augmentation;
  std::vector<std::unique_ptr<dataset::SplitReader>> readers;
  for (int i = 0; i < plan_.data_threads; ++i) readers.push_back(training_files_.reader());
  return std::make_unique<dataset::BatchStream>(
      std::move(readers),
      dataset::training_plan(plan_.train_samples, options_.global_batch, plan_.own_share, options_.seed,
                             options_.augmentation.mixup > 0, options_.order),
      stream);
}

Evaluation TrainingData::validate(network::Executor& executor) const {
  return evaluate(executor, *validation_files_, communicator_,
                  {.batch = plan_.micro_batch(), .confusion = false, .worst = 0, .stream = validation_stream()});
}

}  // namespace brigade::training
