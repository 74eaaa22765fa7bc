#include "preflight.hpp"

#include <gmock/gmock.h>

#include <utility>
#include <vector>

#include "brigade/core/processors.hpp"

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

// Each rank of a host: threads and processors, of eight.
PreflightReport bound(const std::vector<std::pair<int, std::vector<int>>>& ranks) {
  PreflightReport report;
  for (const auto& [threads, processors] : ranks) report.ranks.push_back({"a", 1e9, 1e9, threads, processors, 8});
  return report;
}

// All are equally slow then, and none is far from the median.
TEST(Preflight, NamesRanksThatShareAProcessor) {
  EXPECT_THAT(outliers(bound({{1, {0}}, {1, {0}}, {1, {3}}})),
              ElementsAre("ranks 0, 1 of host a share processor 0 of 8 with 2 threads (left to nobody: 6). "
                          "Bind with `mpirun --map-by slot:PE=1` or `srun --cpus-per-task=1 --cpu-bind=cores`?"));
  // Through a third rank.
  EXPECT_THAT(
      outliers(bound({{2, {0, 1}}, {2, {2, 3}}, {1, {1, 2}}})),
      ElementsAre(HasSubstr("ranks 0, 1, 2 of host a share processors 0-3 of 8 with 5 threads (left to nobody: 4")));
}

TEST(Preflight, NamesARankWithFewerProcessorsThanThreads) {
  EXPECT_THAT(outliers(bound({{4, {5}}, {2, {2, 3}}})),
              ElementsAre(AllOf(HasSubstr("rank 0 of host a has processor 5 of 8 with 4 threads (left to nobody: 5"),
                                HasSubstr("slot:PE=4"))));
  EXPECT_THAT(outliers(bound({{5, {0, 1, 2, 3}}, {5, {4, 5, 6, 7}}})),
              ElementsAre(AllOf(HasSubstr("rank 0 of host a has processors 0-3 of 8 with 5 threads. Use fewer")),
                          HasSubstr("rank 1 of host a has processors 4-7")));
}

TEST(Preflight, RanksMayShareProcessorsThatSuffice) {
  EXPECT_THAT(outliers(bound({{4, {0, 1, 2, 3, 4, 5, 6, 7}}, {4, {0, 1, 2, 3, 4, 5, 6, 7}}})), IsEmpty());
  PreflightReport report = bound({{1, {0}}, {1, {0}}});
  report.ranks[1].host = "b";
  EXPECT_THAT(outliers(report), IsEmpty());
}

TEST(Preflight, SaysTheNumberOfALinkThatHasNoOtherToBeComparedWith) {
  PreflightReport report = healthy();
  EXPECT_THAT(summary(report), ElementsAre(HasSubstr("of 4 ranks and 4 links: arithmetic 100.00 (90.00 ... 110.00)"),
                                           "2 links within a node: 9.00 (8.00 ... 9.00) GB/s each way, latency 1.00 "
                                           "(1.00 ... 2.00) us",
                                           "2 links between nodes: 1.00 (0.90 ... 1.00) GB/s each way, latency 20.00 "
                                           "(20.00 ... 25.00) us"));
  report.ranks = {report.ranks[0], report.ranks[2]};
  report.links = {{0, 1, 50e-6, 0.11e9}};
  EXPECT_THAT(summary(report), ElementsAre(HasSubstr("of 2 ranks and 1 links"),
                                           HasSubstr("the only link between nodes, rank 0 on a and rank 1 on b: 0.11 "
                                                     "GB/s (0.88 Gbit/s) each way, latency 50.0 us")));
}

TEST(Preflight, MeasuresARankAlone) {
  communication::Communicator alone;
  const PreflightReport report = preflight(alone, 1);
  ASSERT_EQ(report.ranks.size(), 1U);
  EXPECT_GT(report.ranks[0].flops_per_s, 0);
  EXPECT_GT(report.ranks[0].memory_bytes_per_s, 0);
  EXPECT_EQ(report.ranks[0].processors, allowed_processors());
  EXPECT_GE(report.ranks[0].host_processors, std::ssize(allowed_processors()));
  EXPECT_THAT(report.links, IsEmpty());
  EXPECT_THAT(outliers(report), IsEmpty());
}

}  // namespace
}  // namespace brigade::benchmarks
