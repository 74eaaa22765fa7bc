#include "preflight.hpp"

#include <gmock/gmock.h>

namespace brigade::benchmarks {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Two nodes of two ranks, as alike as shared machines are.
PreflightReport healthy() {
  return {.ranks = {{"a", 100e9, 20e9}, {"a", 90e9, 18e9}, {"b", 110e9, 21e9}, {"b", 95e9, 15e9}},
          .links = {{0, 1, 1e-6, 9e9}, {1, 2, 20e-6, 1e9}, {2, 3, 2e-6, 8e9}, {3, 0, 25e-6, 0.9e9}},
          .seconds = 1};
}

TEST(Preflight, FindsNothingAmongEquals) { EXPECT_THAT(outliers(healthy()), IsEmpty()); }

TEST(Preflight, NamesASlowRank) {
  PreflightReport report = healthy();
  report.ranks[3].flops_per_s = 40e9;
  EXPECT_THAT(outliers(report), ElementsAre(AllOf(HasSubstr("rank 3 on b"), HasSubstr("40.0 GFLOP/s"))));
  report = healthy();
  report.ranks[0].memory_bytes_per_s = 5e9;
  EXPECT_THAT(outliers(report), ElementsAre(AllOf(HasSubstr("rank 0 on a"), HasSubstr("5.0 GB/s"))));
}

// Links between nodes are not slow because those within nodes are fast.
TEST(Preflight, NamesASlowLinkAmongItsKind) {
  PreflightReport report = healthy();
  report.links[3].bytes_per_s = 0.1e9;
  EXPECT_THAT(outliers(report), ElementsAre(AllOf(HasSubstr("rank 3 on b and rank 0 on a"), HasSubstr("0.10 GB/s"))));
  report = healthy();
  report.links[2].bytes_per_s = 2e9;
  EXPECT_THAT(outliers(report), ElementsAre(HasSubstr("rank 2 on b and rank 3 on b carries")));
}

TEST(Preflight, NamesALateLinkIfItMatters) {
  PreflightReport report = healthy();
  report.links[0].latency_s = 30e-6;  // many times the others', but nobody notices
  EXPECT_THAT(outliers(report), IsEmpty());
  report.links[1].latency_s = 500e-6;
  EXPECT_THAT(outliers(report), ElementsAre(AllOf(HasSubstr("rank 1 on a and rank 2 on b"), HasSubstr("500 us"))));
}

TEST(Preflight, MeasuresARankAlone) {
  communication::Communicator alone;
  const PreflightReport report = preflight(alone, 1);
  ASSERT_EQ(report.ranks.size(), 1U);
  EXPECT_GT(report.ranks[0].flops_per_s, 0);
  EXPECT_GT(report.ranks[0].memory_bytes_per_s, 0);
  EXPECT_THAT(report.links, IsEmpty());
  EXPECT_THAT(outliers(report), IsEmpty());
}

}  // namespace
}  // namespace brigade::benchmarks
