#include "allreduce_table.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "allreduce.hpp"
#include "brigade/core/error.hpp"

namespace brigade::benchmarks {
namespace {

// Of two nodes with `ranks` ranks, by size (from 4 KiB on, each four times as large): how many times as long halving
// took as the ring.
AllreduceReport measured(int ranks, const std::vector<double>& ratios) {
  AllreduceReport report{.ranks = ranks, .ranks_per_node = ranks / 2, .nodes = 2};
  std::size_t bytes = 4096;
  for (const double ratio : ratios) {
    const double ring_s = static_cast<double>(bytes) * 1e-9;
    const auto add = [&](const char* name, double seconds) {
      report.rows.push_back({.algorithm = name, .bytes = bytes, .seconds = {.median = seconds}});
    };
    add("ring", ranks == 2 ? ring_s : 1);
    add("ring, bf16 wire", ranks == 2 ? ring_s / 2 : 1);
    add("halving-doubling", ranks == 2 ? ratio * ring_s : 1);
    if (ranks > 2)
      add("hierarchical, ring", ring_s), add("hierarchical, bf16", ring_s / 2),
          add("hierarchical, halving", ratio * ring_s);
    bytes *= 4;
  }
  return report;
}

TEST(AllreduceTable, PartsTheSizesWhereTheQuickerAlgorithmChanges) {
  constexpr std::size_t kKiB = 1024;
  for (const int ranks : {2, 8}) {  // 8: of the sums that nodes of four ranks make
    // Between 16 and 64 KiB; beside a ring of half the bytes between 4 and 16.
    EXPECT_EQ(measured_short_bytes(measured(ranks, {0.4, 0.8, 1.2, 1.5})), (ShortBytes{32 * kKiB, 8 * kKiB}));
    EXPECT_EQ(measured_short_bytes(measured(ranks, {1.1, 1.1, 1.1})), (ShortBytes{0, 0}));
    EXPECT_EQ(measured_short_bytes(measured(ranks, {0.9, 0.9, 0.9})), (ShortBytes{64 * kKiB, 0}))
        << "no more than was measured";
  }
  // One size that noise has turned around moves nothing.
  EXPECT_EQ(measured_short_bytes(measured(2, {0.6, 1.05, 0.8, 1.2, 0.95, 1.5})).fp32, 128 * kKiB);
}

TEST(AllreduceTable, IsReadAsItWasWritten) {
  const AllreduceTable table{{2, {0, 0}}, {4, {131'072, 7}}, {48, {std::size_t{1} << 30, 1024}}};
  EXPECT_EQ(parse_allreduce_table(to_json(table)), table);
}

TEST(AllreduceTable, DistrustsFiles) {
  const auto refuses = [](const std::string& text, const char* why) {
    try {
      parse_allreduce_table(text);
      ADD_FAILURE() << text << " was taken";
    } catch (const OptionError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(why)) << text;
    }
  };
  const auto with = [](const std::string& row) { return R"({"brigade_allreduce_table": 1, "nodes": [)" + row + "]}"; };
  refuses("", "damaged");
  refuses("[1, 2", "damaged");
  refuses(R"({"benchmark": "allreduce", "rows": []})", "no table of `bench allreduce`");
  refuses(R"({"brigade_allreduce_table": 2, "nodes": []})", "version 2 (this program reads version 1)");
  refuses(R"({"brigade_allreduce_table": 1})", "damaged");
  refuses(R"({"brigade_allreduce_table": 1, "nodes": 3})", "no list of rows");
  refuses(with(""), "no list of rows");
  refuses(with("7"), "damaged");
  refuses(with(R"({"nodes": 1, "halving_doubling_up_to_bytes": 1, "beside_16_bit_ring_up_to_bytes": 1})"),
          R"("nodes" is 1 (expected a whole number from 2)");
  refuses(with(R"({"nodes": 2})"), "damaged");
  refuses(with(R"({"nodes": 2, "halving_doubling_up_to_bytes": 1})"), "damaged");
  refuses(with(R"({"nodes": 2.0, "halving_doubling_up_to_bytes": 1, "beside_16_bit_ring_up_to_bytes": 1})"),
          R"("nodes" is 2.0)");
  refuses(with(R"({"nodes": 99999999999, "halving_doubling_up_to_bytes": 1, "beside_16_bit_ring_up_to_bytes": 1})"),
          R"("nodes" is 99999999999)");
  refuses(with(R"({"nodes": 2, "halving_doubling_up_to_bytes": -1})"), "is -1");
  refuses(with(R"({"nodes": 2, "halving_doubling_up_to_bytes": 1e30})"), "is 1e+30");
  const std::string row = R"({"nodes": 2, "halving_doubling_up_to_bytes": 1, "beside_16_bit_ring_up_to_bytes": 1})";
  refuses(with(row + "," + row), "two rows of 2 nodes");
}

}  // namespace
}  // namespace brigade::benchmarks
