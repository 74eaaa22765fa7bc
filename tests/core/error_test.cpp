#include "brigade/core/error.hpp"

#include <gtest/gtest.h>

#include <string>

namespace brigade {
namespace {

TEST(Require, FormatsProblemReasonAndSuggestion) {
  EXPECT_NO_THROW(require(true, "never read {}", 1));
  try {
    require(false, "shard {} is truncated (expected {} images, the file holds {}). Run `brigade shard` again?", 3, 4096,
            4000);
    FAIL() << "require(false) returned";
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(),
                 "shard 3 is truncated (expected 4096 images, the file holds 4000). Run `brigade shard` again?");
  }
}

TEST(Error, CarriesTheExitCode) {
  const auto code = [](const Error& error) { return static_cast<int>(error.code()); };
  EXPECT_EQ(code(OptionError("")), 2);
  EXPECT_EQ(code(NotCompiled("")), 2);
  EXPECT_EQ(code(DataError("")), 3);
  EXPECT_EQ(code(DivergedError("")), 4);
  EXPECT_EQ(code(PeerError("")), 5);
  EXPECT_EQ(static_cast<int>(ExitCode::stopped_early), 75);
  EXPECT_THROW(require<OptionError>(false, "no"), OptionError);
}

#ifndef NDEBUG
TEST(ContractDeathTest, NamesTheCondition) { EXPECT_DEATH(EXPECT(1 + 1 == 3), "EXPECT failed: 1 \\+ 1 == 3"); }
#endif

}  // namespace
}  // namespace brigade
