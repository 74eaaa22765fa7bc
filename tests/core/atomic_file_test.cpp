#include "brigade/core/atomic_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "brigade/core/error.hpp"

namespace brigade {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(directory_); }
  void TearDown() override { fs::remove_all(directory_); }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) names.push_back(entry.path().filename().string());
    return names;
  }

  fs::path directory_ = fs::temp_directory_path() / fmt::format("brigade-atomic-{}", ::getpid());
  fs::path path_ = directory_ / "model.h5";
};

TEST_F(AtomicFileTest, AppearsOnlyWhenCommitted) {
  {
    AtomicFile file(path_);
    std::ofstream(file.path()) << "half";
    EXPECT_EQ(file.path().parent_path(), directory_) << "a rename works only within a file system";
    EXPECT_FALSE(fs::exists(path_));
    file.commit();
    EXPECT_EQ(read_file(path_), "half");
  }
  EXPECT_EQ(files(), std::vector<std::string>{"model.h5"});
}

TEST_F(AtomicFileTest, ReplacesAsAWholeOrNotAtAll) {
  write_file(path_, "first");
  {
    AtomicFile file(path_);
    std::ofstream(file.path()) << "never finished";
  }
  EXPECT_EQ(read_file(path_), "first");
  write_file(path_, std::string("second\0with zero", 16));
  EXPECT_EQ(read_file(path_), std::string("second\0with zero", 16));
  EXPECT_EQ(files(), std::vector<std::string>{"model.h5"});
}

TEST_F(AtomicFileTest, FailuresNameTheFile) {
  const auto message = [](const auto& action) -> std::string {
    try {
      action();
    } catch (const DataError& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  const fs::path nowhere = directory_ / "missing" / "file";
  EXPECT_NE(message([&] { write_file(nowhere, "x"); }).find("missing/file (No such file"), std::string::npos);
  EXPECT_NE(message([&] { read_file(nowhere); }).find("missing/file (No such file"), std::string::npos);
  EXPECT_NE(message([&] { read_file(directory_); }).find("no regular file"), std::string::npos);
  write_file(path_, "twelve bytes");
  EXPECT_NE(message([&] { read_file(path_, 11); }).find("larger than 11 bytes"), std::string::npos);
  EXPECT_EQ(read_file(path_, 12), "twelve bytes");
}

}  // namespace
}  // namespace brigade
