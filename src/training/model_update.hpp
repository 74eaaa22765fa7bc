// What a step's summed gradients and batch statistics do to the model; on a server, to its range of both.
#pragma once

#include <cstdint>

#include "brigade/ops/backend.hpp"
#include "brigade/training/optimizer.hpp"
#include "brigade/training/running_averages.hpp"

namespace brigade::training {

struct ModelUpdate {
  ConstTensorView batch_statistics, gradients;  // sums over `micro_batches`; of a loss that is the mean over images
  TensorView statistics, weights;               // follow them; any of the pairs may be empty
  std::int64_t micro_batches = 1;
  float share = 1;  // of a whole step: a part of its micro-batches moves the model by a part of the way
};

inline void update_model(ops::Backend& backend, Optimizer& optimizer, const RunningAverages& averages,
                         const ModelUpdate& update, std::int64_t step, float learning_rate) {
  if (update.weights.shape.size() > 0)
    optimizer.apply(update.gradients, update.weights, step, update.share * learning_rate);
  averages.follow(backend, update.batch_statistics, update.statistics, update.micro_batches, update.share);
}

// Elements [begin, end) of a flat array.
inline TensorView part_of(const TensorView& flat, std::int64_t begin, std::int64_t end) {
  return {flat.f32() + begin, Shape{end - begin}};
}

}  // namespace brigade::training
