// Files of tests/golden, made with PyTorch in double precision by tests/golden/make_golden.py.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "brigade/network/zoo.hpp"

namespace brigade::tests {

inline nlohmann::json load_golden(const std::string& file) {
  std::ifstream stream(std::string(BRIGADE_SOURCE_DIR "/tests/golden/") + file + ".json");
  return nlohmann::json::parse(stream);
}

inline network::NetworkOptions golden_options(const nlohmann::json& golden) {
  return {.height = golden["image"][0],
          .width = golden["image"][1],
          .channels = golden["image"][2],
          .classes = golden["classes"],
          .dropout = {}};
}

}  // namespace brigade::tests
