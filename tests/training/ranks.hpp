// What tests on several ranks share; see training_test.cpp.
#pragma once

#include <filesystem>

#include "brigade/communication/communicator.hpp"

namespace brigade::training {
namespace fs = std::filesystem;

extern communication::Communicator* world;
extern fs::path scratch;  // shared by the ranks
const fs::path& dataset_directory();

}  // namespace brigade::training
