/// Checkpoints: a directory that appears at once, complete and with checksums, or not at all.
///
///     step-00001234/model.h5       weights and batch-norm statistics by name, what the network is
///     step-00001234/state.h5       optimizer state, data cursor, sums of the epoch under way
///     step-00001234/manifest.json  CRC-32C and size of both, written last
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "brigade/core/shape.hpp"
#include "brigade/network/executor.hpp"

namespace brigade::training {

/// Everything needed to build the network again and to feed it.
struct ModelInfo {
  std::string network;
  std::int64_t height = 0, width = 0, channels = 0;
  std::int64_t stored_height = 0, stored_width = 0;  ///< of the dataset's images, of which the network sees a part
  double width_multiplier = 1;                       ///< of the filters, not of the image
  std::vector<std::string> classes;
  std::array<float, 3> mean{}, stddev{1, 1, 1};  ///< normalisation of the images it was trained on
  std::string augmentation = "none";             ///< of the images it was trained on
};

struct NamedArray {
  std::string name;  ///< "conv1/kernel"
  Shape shape;
  std::vector<float> values;
};

struct Model {
  ModelInfo info;
  std::vector<NamedArray> parameters, statistics;
};

/// What a resumed run needs beyond the model.
struct TrainingState {
  std::int64_t step = 0;                         ///< steps done: the data cursor
  std::map<std::string, std::string> identity;   ///< options that must be the same when resuming
  double epoch_loss_sum = 0, epoch_correct = 0;  ///< of the epoch under way
  std::int64_t epoch_images = 0;
  double epoch_train_s = 0;
  std::vector<NamedArray> optimizer;
};

struct Checkpoint {
  Model model;
  TrainingState state;
};

/// Writes `directory`/step-<step>/ atomically, then removes all but the newest `keep`. Throws DataError.
void save_checkpoint(const std::filesystem::path& directory, const Checkpoint& checkpoint, int keep);

/// The newest complete checkpoint below `directory`, if there is one.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& directory);

/// Reads a checkpoint directory and compares its checksums. Throws DataError.
Model load_model(const std::filesystem::path& checkpoint);
TrainingState load_state(const std::filesystem::path& checkpoint);

/// Copies of the executor's weights and running statistics, by name.
Model snapshot(const ModelInfo& info, network::Executor& executor, ops::Backend& backend);

/// Puts a model's weights and statistics into the executor. Throws DataError if a name or shape differs.
void restore(const Model& model, network::Executor& executor, ops::Backend& backend);

/// The network of a model, for its image size and classes.
network::Graph make_graph(const ModelInfo& info);

}  // namespace brigade::training
