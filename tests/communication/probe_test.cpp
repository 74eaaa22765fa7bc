#include "brigade/communication/probe.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "world.hpp"

namespace brigade::communication {
namespace {

TEST(Probe, MeasuresEveryLinkOfTheRingOnceAndTellsAll) {
  const std::vector<Link> links = probe_links(world(), 64U << 10);
  const int ranks = world().size();
  ASSERT_EQ(std::ssize(links), ranks == 1 ? 0 : ranks == 2 ? 1 : ranks);
  for (int from = 0; from < std::ssize(links); ++from) {
    const Link& link = links[static_cast<std::size_t>(from)];
    EXPECT_EQ(link.from, from);
    EXPECT_EQ(link.to, (from + 1) % ranks);
    EXPECT_GT(link.latency_s, 0);
    EXPECT_TRUE(std::isfinite(link.bytes_per_s));
    EXPECT_GT(link.bytes_per_s, 0);
  }
  std::vector<double> numbers;
  for (const Link& link : links) numbers.insert(numbers.end(), {link.latency_s, link.bytes_per_s});
  std::vector<double> of_rank_0 = numbers;
  world().broadcast(std::as_writable_bytes(std::span(of_rank_0)), 0, "links");
  EXPECT_EQ(numbers, of_rank_0);
}

TEST(Probe, OneNodeHasOneClock) { EXPECT_EQ(clock_offset_s(world()), 0); }

TEST(Probe, AloneThereIsNothingToMeasure) {
  Communicator alone;
  EXPECT_TRUE(probe_links(alone).empty());
  EXPECT_EQ(clock_offset_s(alone), 0);
}

}  // namespace
}  // namespace brigade::communication
