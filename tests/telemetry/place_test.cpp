#include "brigade/telemetry/place.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include "brigade/core/host_name.hpp"

namespace brigade::telemetry {
namespace {

TEST(Place, ProcessorsAreWrittenAsRanges) {
  EXPECT_EQ(as_ranges({}), "");
  EXPECT_EQ(as_ranges({5}), "5");
  EXPECT_EQ(as_ranges({8, 2, 0, 1, 3, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(as_ranges({1, 1, 2}), "1-2");
}

TEST(Place, IsTheSameAfterALine) {
  const Place place{
      .role = "server", .host = "node 7", .machine = "0a1b2c3d", .processors = "0-3,8", .processor_limit = 0.3};
  EXPECT_EQ(places_from({to_line(place), to_line({})}), (std::vector<Place>{place, {}}));
}

TEST(Place, IsThatOfThisProcess) {
  const Place place = place_of_this_process();
  EXPECT_EQ(place.role, "worker");
  EXPECT_EQ(place.host, host_name());
  EXPECT_EQ(place.machine, place_of_this_process({3}).machine);
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  int first = 0;
  while (!CPU_ISSET(first, &set)) ++first;
  EXPECT_EQ(std::stoi(place.processors), first);
  EXPECT_EQ(place_of_this_process({4, 6, 5}).processors, "4-6");
  EXPECT_EQ(place.processor_limit, processor_limit());
}

}  // namespace
}  // namespace brigade::telemetry
