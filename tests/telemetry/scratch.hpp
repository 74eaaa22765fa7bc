// A directory of its own for each test, removed afterwards.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "brigade/core/error.hpp"

namespace brigade::telemetry {

class Scratch : public testing::Test {
 protected:
  Scratch() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory = std::filesystem::temp_directory_path() /
                fmt::format("brigade-{}-{}-{}", test->test_suite_name(), test->name(), getpid());
    std::filesystem::create_directories(directory);
  }
  ~Scratch() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
  std::filesystem::path directory;
};

}  // namespace brigade::telemetry
