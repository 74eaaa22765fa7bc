#include "brigade/core/processor_limit.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "brigade/core/error.hpp"

namespace brigade {
namespace {

namespace fs = std::filesystem;

// Files as a kernel would show them.
class ProcessorLimit : public testing::Test {
 protected:
  ProcessorLimit() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::temp_directory_path() / fmt::format("brigade-{}-{}", test->name(), getpid());
    fs::create_directories(directory_);
  }
  ~ProcessorLimit() override {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
  void put(const std::string& file, const std::string& text) const {
    fs::create_directories((directory_ / file).parent_path());
    std::ofstream(directory_ / file) << text;
  }
  double limit() const {
    return processor_limit({.membership = directory_ / "membership", .mount = directory_ / "mount"});
  }

 private:
  fs::path directory_;
};

TEST_F(ProcessorLimit, NothingLimitsWhatNothingIsKnownOf) { EXPECT_EQ(limit(), kUnlimited); }

TEST_F(ProcessorLimit, Version2) {
  put("membership", "0::/job/step\n");
  put("mount/job/step/cpu.max", "max 100000\n");
  EXPECT_EQ(limit(), kUnlimited);
  put("mount/job/step/cpu.max", "250000 100000\n");
  EXPECT_DOUBLE_EQ(limit(), 2.5);
  put("mount/job/cpu.max", "150000 100000\n");  // the group around it
  EXPECT_DOUBLE_EQ(limit(), 1.5);
}

TEST_F(ProcessorLimit, Version1) {
  put("membership", "4:memory:/elsewhere\n3:cpu,cpuacct:/job\n1:cpuset:/job\n0::/\n");
  put("mount/cpu,cpuacct/job/cpu.cfs_period_us", "4000\n");
  put("mount/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(limit(), kUnlimited);
  put("mount/cpu,cpuacct/job/cpu.cfs_quota_us", "1200\n");
  EXPECT_DOUBLE_EQ(limit(), 0.3);
}

TEST_F(ProcessorLimit, ThePathOutsideOfAContainer) {
  put("membership", "2:cpu:/docker/1234\n");
  put("mount/cpu/cpu.cfs_period_us", "100000\n");
  put("mount/cpu/cpu.cfs_quota_us", "50000\n");
  EXPECT_DOUBLE_EQ(limit(), 0.5);
}

TEST_F(ProcessorLimit, NoPartOfAnotherController) {
  put("membership", "2:cpuset:/job\n");
  put("mount/cpu/job/cpu.cfs_period_us", "100000\n");
  put("mount/cpu/job/cpu.cfs_quota_us", "50000\n");
  EXPECT_EQ(limit(), kUnlimited);
}

}  // namespace
}  // namespace brigade
