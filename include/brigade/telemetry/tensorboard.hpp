/// TensorBoard event files: TFRecord framing (length, masked CRC-32C) around Event messages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace brigade::telemetry {

class TensorBoardWriter {
 public:
  TensorBoardWriter() = default;  ///< writes nothing
  /// Opens `directory`/events.out.tfevents.<seconds>.<host>.<pid>
  explicit TensorBoardWriter(const std::filesystem::path& directory);
  void scalar(const std::string& tag, std::int64_t step, double value);
  void flush();

 private:
  void record(const std::string& event);
  std::ofstream out_;
};

}  // namespace brigade::telemetry
