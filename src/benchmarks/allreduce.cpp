#include "allreduce.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>
#include <ranges>

#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/core/memory.hpp"

namespace brigade::benchmarks {
namespace {

using communication::Algorithm;
using communication::AllreduceOptions;
using communication::Communicator;
using communication::Wire;

constexpr double kGiga = 1e9;
constexpr const char *kPeer = "MPI_Allreduce", *kRing = "ring", *kNarrowRing = "ring, bf16 wire",
                     *kHalving = "halving-doubling";

struct Contender {
  std::string name;
  bool in_array_memory = false;        // of the communicator, as gradients are; else in memory of the rank alone
  float rounding = 0;                  // of every partial sum, one for each rank; relative to it
  std::optional<AllreduceOptions> by;  // none: the peer

  void sum(Communicator& communicator, std::span<float> data) const {
    if (by)
      communication::allreduce(communicator, data, *by);
    else
      communication::mpi_allreduce(communicator, data);
  }
};

// Those of one algorithm between nodes, through shared memory within them; the same as the plain ones where each node
// has one rank.
constexpr const char *kHierarchicalRing = "hierarchical, ring", *kHierarchicalHalving = "hierarchical, halving",
                     *kHierarchicalNarrow = "hierarchical, bf16";

std::vector<Contender> contenders(const Communicator& communicator, std::size_t segment_bytes) {
  constexpr float kHalfUnitOfBf16 = 0x1p-8F, kHalfUnitOfFp16 = 0x1p-11F;
  std::vector<Contender> all{
      {.name = "auto", .in_array_memory = true, .by = AllreduceOptions{}},
      {.name = "hierarchical, private", .by = {{.algorithm = Algorithm::hierarchical}}},
      {.name = kRing, .by = {{.algorithm = Algorithm::ring}}},
      {.name = kNarrowRing, .rounding = kHalfUnitOfBf16, .by = {{.algorithm = Algorithm::ring, .wire = Wire::bf16}}},
      {.name = "ring, fp16 wire",
       .rounding = kHalfUnitOfFp16,
       .by = {{.algorithm = Algorithm::ring, .wire = Wire::fp16}}},
      {.name = kHalving, .by = {{.algorithm = Algorithm::halving_doubling}}},
      {.name = "mpi", .by = {{.algorithm = Algorithm::mpi}}},
      {.name = kPeer, .by = {}}};
  const int nodes = communication::exchanging_nodes(communicator);
  if (nodes > 1 && nodes < communicator.size()) {
    all.push_back({.name = kHierarchicalRing, .in_array_memory = true, .by = {{.short_bytes = 0}}});
    all.push_back({.name = kHierarchicalNarrow,
                   .in_array_memory = true,
                   .rounding = kHalfUnitOfBf16,
                   .by = {{.wire = Wire::bf16, .short_bytes = 0}}});
    all.push_back({.name = kHierarchicalHalving, .in_array_memory = true, .by = {{.short_bytes = SIZE_MAX}}});
  }
  for (Contender& contender : all)
    if (contender.by) contender.by->segment_bytes = segment_bytes;
  return all;
}

// Whole numbers, so that every order of additions gives the same sum.
float value(int rank, std::size_t i) { return static_cast<float>((rank + 1) * (1 + static_cast<int>(i % 997))); }

void check(Communicator& communicator, const Contender& contender, std::span<float> data) {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = value(communicator.rank(), i);
  contender.sum(communicator, data);
  const int ranks = communicator.size(), all_ranks = ranks * (ranks + 1) / 2;
  collectively(communicator, "checking a sum", [&] {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const auto expected = static_cast<float>(all_ranks * (1 + static_cast<int>(i % 997)));
      const float allowed = contender.rounding * expected * static_cast<float>(ranks);
      // Data that cannot be trusted, as where a checksum differs; "diverged" is for a loss that is not finite.
      require<DataError>(
          std::abs(data[i] - expected) <= allowed,
          "{} of {} floats is wrong on rank {} (element {} is {}, not {}). Run the tests of communication?",
          contender.name, data.size(), communicator.rank(), i, data[i], expected);
    }
  });
}

int repetitions_of(std::size_t bytes) { return std::clamp(static_cast<int>((512U << 20) / bytes), 5, 200); }

// Who is next to whom changes, equally on all ranks: what a sum leaves behind in caches and in TCP's windows (after one
// by MPI, a ring over links of 1 Gbit/s took 8 to 19 % longer) meets no contender every time.
std::vector<std::size_t> order_of(std::size_t repetition, std::size_t contenders) {
  std::vector<std::size_t> order(contenders);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::shuffle(order, std::mt19937(static_cast<unsigned>(repetition)));
  return order;
}

// The times of all contenders with arrays of `bytes`, in turns, by contender and repetition: of the slowest rank.
std::vector<std::vector<double>> measure(Communicator& communicator, const std::vector<Contender>& all,
                                         std::size_t bytes, int repetitions) {
  const Buffer shared(communicator.array_memory(), bytes), own(host_memory(), bytes);
  const auto data = [&](const Contender& contender) {
    return std::span((contender.in_array_memory ? shared : own).as<float>(), bytes / sizeof(float));
  };
  for (const Contender& contender : all) check(communicator, contender, data(contender));
  const auto samples = static_cast<std::size_t>(repetitions);
  std::vector<double> seconds(all.size() * samples);  // by contender and repetition
  for (std::size_t r = 0; r < samples; ++r)
    for (const std::size_t c : order_of(r, all.size())) {
      // Each rank has just written its array, from the end to the beginning, as backward has.
      std::ranges::fill(std::views::reverse(data(all[c])), 0.0F);
      communicator.barrier("the start of a sum");
      const double start_s = now_s();
      all[c].sum(communicator, data(all[c]));
      seconds[c * samples + r] = now_s() - start_s;
    }
  communicator.maximum(seconds, "times of the slowest ranks");
  std::vector<std::vector<double>> slowest;
  for (std::size_t c = 0; c < all.size(); ++c) {
    const auto first = seconds.begin() + static_cast<std::ptrdiff_t>(c * samples);
    slowest.emplace_back(first, first + repetitions);
  }
  return slowest;
}

// Medians of one algorithm, by bytes.
std::map<std::size_t, double> medians(const AllreduceReport& report, const char* hierarchical, const char* flat) {
  const char* name = report.nodes < report.ranks ? hierarchical : flat;
  std::map<std::size_t, double> seconds;
  for (const AllreduceRow& row : report.rows)
    if (row.algorithm == name) seconds[row.bytes] = row.seconds.median;
  return seconds;
}

std::size_t short_bytes(const std::map<std::size_t, double>& halving, const std::map<std::size_t, double>& ring) {
  // Beginning with the ring for all, halving takes over one size after another.
  double loss = 0, least = 0;
  std::size_t largest = 0;
  for (const auto& [bytes, seconds] : halving) {
    loss += std::log(seconds / ring.at(bytes));
    if (loss < least) least = loss, largest = bytes;
  }
  const auto after = halving.upper_bound(largest);
  if (largest == 0 || after == halving.end()) return largest;
  return static_cast<std::size_t>(std::sqrt(static_cast<double>(largest) * static_cast<double>(after->first)));
}

}  // namespace

AllreduceReport measure_allreduce(Communicator& communicator, const AllreduceBenchmark& wanted) {
  AllreduceReport report{.ranks = communicator.size(),
                         .ranks_per_node = communicator.node_size(),
                         .nodes = communication::exchanging_nodes(communicator),
                         .segment_bytes = wanted.segment_bytes};
  const std::vector<Contender> all = contenders(communicator, wanted.segment_bytes);
  for (std::size_t bytes = wanted.least_bytes; bytes <= wanted.most_bytes; bytes *= 4) {
    const int repetitions = wanted.repetitions > 0 ? wanted.repetitions : repetitions_of(bytes);
    const auto seconds = measure(communicator, all, bytes, repetitions);
    for (std::size_t c = 0; c < all.size(); ++c)
      report.rows.push_back({.algorithm = all[c].name,
                             .bytes = bytes,
                             .repetitions = repetitions,
                             .seconds = quantiles(seconds[c]),
                             .slowest_seconds = std::ranges::max(seconds[c])});
  }
  return report;
}

ShortBytes measured_short_bytes(const AllreduceReport& report) {
  EXPECT(report.nodes > 1);
  const auto halving = medians(report, kHierarchicalHalving, kHalving);
  return {.fp32 = short_bytes(halving, medians(report, kHierarchicalRing, kRing)),
          .narrow = short_bytes(halving, medians(report, kHierarchicalNarrow, kNarrowRing))};
}

void print(const AllreduceReport& report) {
  fmt::print(
      "allreduce over {} ranks, {} a node; segments of {} KiB; time of the slowest rank; every sum was checked\n",
      report.ranks, report.ranks_per_node, report.segment_bytes >> 10);
  fmt::print(
      "auto (and hierarchical, ring or halving): of arrays in the communicator's memory, as gradients are; the "
      "others: of a rank's own\n");
  if (report.nodes > 1)
    fmt::print("auto between {} nodes: halving-doubling up to {} KiB, the ring above\n", report.nodes,
               communication::shipped_short_bytes(report.nodes) >> 10);
  fmt::print("algorithm GB/s = bytes / median time;  bus GB/s = algorithm GB/s x 2 (N-1) / N, N = {}\n\n",
             report.ranks);
  fmt::print("{:>11}  {:<22}{:>6}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}\n", "KiB", "algorithm", "times", "p10 us",
             "median us", "p90 us", "alg GB/s", "bus GB/s", "vs MPI");
  for (const AllreduceRow& row : report.rows) {
    const auto peer = std::ranges::find_if(
        report.rows, [&](const AllreduceRow& r) { return r.bytes == row.bytes && r.algorithm == kPeer; });
    fmt::print("{:>11}  {:<22}{:>6}{:>12.1f}{:>12.1f}{:>12.1f}{:>10.2f}{:>10.2f}{:>9.2f}x\n", row.bytes >> 10,
               row.algorithm, row.repetitions, row.seconds.p10 * 1e6, row.seconds.median * 1e6, row.seconds.p90 * 1e6,
               row.algorithm_bytes_per_s() / kGiga, report.bus_bytes_per_s(row) / kGiga,
               peer->seconds.median / row.seconds.median);
  }
}

std::string to_json(const AllreduceReport& report) {
  nlohmann::ordered_json json = {{"benchmark", "allreduce"}, {"host", host_name()},
                                 {"ranks", report.ranks},    {"ranks_per_node", report.ranks_per_node},
                                 {"nodes", report.nodes},    {"segment_bytes", report.segment_bytes}};
  for (const AllreduceRow& row : report.rows)
    json["rows"].push_back({{"algorithm", row.algorithm},
                            {"bytes", row.bytes},
                            {"repetitions", row.repetitions},
                            {"seconds",
                             {{"p10", row.seconds.p10},
                              {"median", row.seconds.median},
                              {"p90", row.seconds.p90},
                              {"max", row.slowest_seconds}}},
                            {"algorithm_bytes_per_s", row.algorithm_bytes_per_s()},
                            {"bus_bytes_per_s", report.bus_bytes_per_s(row)}});
  return json.dump(2) + "\n";
}

}  // namespace brigade::benchmarks
