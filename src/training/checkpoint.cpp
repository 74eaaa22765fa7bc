#include "brigade/training/checkpoint.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/checksum.hpp"
#include "brigade/core/error.hpp"
#include "hdf5_arrays.hpp"

namespace brigade::training {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr int kCheckpointVersion = 1;
constexpr const char* kFiles[] = {"model.h5", "state.h5"};

std::uint32_t checksum_of_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  require(in.good(), "cannot open {} (it is missing or unreadable)", path.string());
  std::vector<char> block(1U << 20);
  std::uint32_t crc = 0;
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0)
    crc = crc32c(std::as_bytes(std::span(block.data(), static_cast<std::size_t>(in.gcount()))), crc);
  return crc;
}

json info_to_json(const ModelInfo& info) {
  return {{"network", info.network},
          {"width_multiplier", info.width_multiplier},
          {"height", info.height},
          {"width", info.width},
          {"channels", info.channels},
          {"stored_height", info.stored_height},
          {"stored_width", info.stored_width},
          {"classes", info.classes},
          {"mean", info.mean},
          {"stddev", info.stddev},
          {"augmentation", info.augmentation}};
}

ModelInfo info_from_json(const json& text) {
  ModelInfo info;
  text.at("network").get_to(info.network);
  info.width_multiplier = text.value("width_multiplier", 1.0);  // older checkpoints: none
  text.at("height").get_to(info.height);
  text.at("width").get_to(info.width);
  text.at("channels").get_to(info.channels);
  text.at("classes").get_to(info.classes);
  text.at("mean").get_to(info.mean);
  text.at("stddev").get_to(info.stddev);
  info.stored_height = text.value("stored_height", info.height);
  info.stored_width = text.value("stored_width", info.width);
  info.augmentation = text.value("augmentation", info.augmentation);
  return info;
}

void write_model(const fs::path& path, const Model& model) {
  ArrayWriter file(path);
  file.attribute("brigade_model", info_to_json(model.info).dump());
  file.arrays("weights", model.parameters);
  file.arrays("statistics", model.statistics);
}

void write_state(const fs::path& path, const TrainingState& state) {
  ArrayWriter file(path);
  // JSON writes doubles so that they read back as the same bits.
  const json numbers = {{"step", state.step},
                        {"identity", state.identity},
                        {"epoch_loss_sum", state.epoch_loss_sum},
                        {"epoch_correct", state.epoch_correct},
                        {"epoch_images", state.epoch_images},
                        {"epoch_train_s", state.epoch_train_s}};
  file.attribute("brigade_state", numbers.dump());
  file.arrays("optimizer", state.optimizer);
}

// Compares size and CRC-32C of a checkpoint's file with its manifest.
void check_file(const fs::path& checkpoint, const char* file) {
  const fs::path path = checkpoint / file;
  std::error_code error;
  const json manifest = json::parse(read_file(checkpoint / "manifest.json"), nullptr, false);
  require(manifest.is_object() && manifest.value("brigade_checkpoint_version", 0) == kCheckpointVersion &&
              manifest.contains("files") && manifest["files"].contains(file),
          "{} has no valid manifest (it is damaged, or of another version). Use an older checkpoint?",
          checkpoint.string());
  const json& entry = manifest["files"][file];
  require(entry.is_object() && fs::file_size(path, error) == entry.value("bytes", std::uintmax_t{0}) && !error &&
              checksum_of_file(path) == entry.value("crc32c", std::uint32_t{0}),
          "{} is damaged (its size or checksum is not what the checkpoint's manifest says). Use an older checkpoint?",
          path.string());
}

template <class Read>
auto parse_attribute(const ArrayReader& file, const char* name, const fs::path& path, Read&& read) {
  try {
    return read(json::parse(file.attribute(name)));
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{} has no valid attribute {} ({})", path.string(), name, error.what()));
  }
}

// Step directories, oldest first.
std::vector<fs::path> list_checkpoints(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error))
    if (entry.path().filename().string().starts_with("step-") && fs::exists(entry.path() / "manifest.json"))
      found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

void save_checkpoint(const fs::path& directory, const Checkpoint& checkpoint, int keep) {
  const fs::path final_path = directory / fmt::format("step-{:08}", checkpoint.state.step);
  const fs::path partial = directory / fmt::format(".partial-{}-{}", checkpoint.state.step, ::getpid());
  std::error_code error;
  fs::remove_all(partial, error);
  fs::create_directories(partial, error);
  require(!error, "cannot make {} ({}). Is the disk full, or the directory write-protected?", partial.string(),
          error.message());

  json manifest = {{"brigade_checkpoint_version", kCheckpointVersion}, {"step", checkpoint.state.step}};
  write_model(partial / kFiles[0], checkpoint.model);
  write_state(partial / kFiles[1], checkpoint.state);
  for (const char* file : kFiles)
    manifest["files"][file] = {{"bytes", fs::file_size(partial / file)}, {"crc32c", checksum_of_file(partial / file)}};
  write_file(partial / "manifest.json", manifest.dump(1) + "\n");

  // A checkpoint of the same step (a resumed run that stopped at once) holds the same bits.
  fs::remove_all(final_path, error);
  fs::rename(partial, final_path, error);
  require(!error, "cannot rename {} to {} ({})", partial.string(), final_path.string(), error.message());

  auto all = list_checkpoints(directory);
  for (std::size_t i = 0; i + static_cast<std::size_t>(std::max(1, keep)) < all.size(); ++i)
    fs::remove_all(all[i], error);
}

std::optional<fs::path> newest_checkpoint(const fs::path& directory) {
  const auto all = list_checkpoints(directory);
  return all.empty() ? std::nullopt : std::optional(all.back());
}

Model load_model(const fs::path& checkpoint) {
  check_file(checkpoint, kFiles[0]);
  const ArrayReader file(checkpoint / kFiles[0]);
  Model model;
  model.info = parse_attribute(file, "brigade_model", checkpoint, info_from_json);
  model.parameters = file.arrays("weights");
  model.statistics = file.arrays("statistics");
  return model;
}

TrainingState load_state(const fs::path& checkpoint) {
  check_file(checkpoint, kFiles[1]);
  const ArrayReader file(checkpoint / kFiles[1]);
  TrainingState state = parse_attribute(file, "brigade_state", checkpoint, [](const json& text) {
    TrainingState result;
    text.at("step").get_to(result.step);
    text.at("identity").get_to(result.identity);
    text.at("epoch_loss_sum").get_to(result.epoch_loss_sum);
    text.at("epoch_correct").get_to(result.epoch_correct);
    text.at("epoch_images").get_to(result.epoch_images);
    text.at("epoch_train_s").get_to(result.epoch_train_s);
    return result;
  });
  state.optimizer = file.arrays("optimizer");
  return state;
}

}  // namespace brigade::training
