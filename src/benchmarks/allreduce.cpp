#include "allreduce.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ranges>

#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/core/memory.hpp"

namespace brigade::benchmarks {
namespace {

using communication::Algorithm;
using communication::Communicator;
using communication::Wire;

constexpr double kGiga = 1e9;
constexpr const char* kPeer = "MPI_Allreduce";

struct Contender {
  std::string name;
  bool in_array_memory;  // of the communicator, as gradients are; else in memory of the rank alone
  float rounding;        // of every partial sum, one for each rank; relative to it
  void (*sum)(Communicator&, std::span<float>, std::size_t segment_bytes);
};

template <Algorithm kBy, Wire kWire = Wire::fp32>
void sum_by(Communicator& communicator, std::span<float> data, std::size_t segment_bytes) {
  communication::allreduce(communicator, data, {.algorithm = kBy, .wire = kWire, .segment_bytes = segment_bytes});
}

std::vector<Contender> contenders() {
  constexpr float kHalfUnitOfBf16 = 0x1p-8F, kHalfUnitOfFp16 = 0x1p-11F;
  return {{"automatic", true, 0, sum_by<Algorithm::automatic>},
          {"hierarchical, private", false, 0, sum_by<Algorithm::hierarchical>},
          {"ring", false, 0, sum_by<Algorithm::ring>},
          {"ring, bf16 wire", false, kHalfUnitOfBf16, sum_by<Algorithm::ring, Wire::bf16>},
          {"ring, fp16 wire", false, kHalfUnitOfFp16, sum_by<Algorithm::ring, Wire::fp16>},
          {"halving-doubling", false, 0, sum_by<Algorithm::halving_doubling>},
          {kPeer, false, 0, [](Communicator& communicator, std::span<float> data, std::size_t) {
             communication::mpi_allreduce(communicator, data);
           }}};
}

// Whole numbers, so that every order of additions gives the same sum.
float value(int rank, std::size_t i) { return static_cast<float>((rank + 1) * (1 + static_cast<int>(i % 997))); }

void check(Communicator& communicator, const Contender& contender, std::span<float> data, std::size_t segment) {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = value(communicator.rank(), i);
  contender.sum(communicator, data, segment);
  const int ranks = communicator.size(), all_ranks = ranks * (ranks + 1) / 2;
  collectively(communicator, "checking a sum", [&] {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const auto expected = static_cast<float>(all_ranks * (1 + static_cast<int>(i % 997)));
      const float allowed = contender.rounding * expected * static_cast<float>(ranks);
      if (!(std::abs(data[i] - expected) <= allowed))
        throw Error(ExitCode::diverged,
                    fmt::format("{} of {} floats is wrong on rank {} (element {} is {}, not {})", contender.name,
                                data.size(), communicator.rank(), i, data[i], expected));
    }
  });
}

int repetitions_of(std::size_t bytes) { return std::clamp(static_cast<int>((512U << 20) / bytes), 5, 200); }

}  // namespace

AllreduceReport measure_allreduce(Communicator& communicator, const AllreduceBenchmark& wanted) {
  AllreduceReport report{
      .ranks = communicator.size(), .ranks_per_node = communicator.node_size(), .segment_bytes = wanted.segment_bytes};
  const std::vector<Contender> all = contenders();
  for (std::size_t bytes = wanted.least_bytes; bytes <= wanted.most_bytes; bytes *= 4) {
    const Buffer shared(communicator.array_memory(), bytes), own(host_memory(), bytes);
    const auto data = [&](const Contender& contender) {
      return std::span((contender.in_array_memory ? shared : own).as<float>(), bytes / sizeof(float));
    };
    for (const Contender& contender : all) check(communicator, contender, data(contender), wanted.segment_bytes);
    const int repetitions = wanted.repetitions > 0 ? wanted.repetitions : repetitions_of(bytes);
    const auto samples = static_cast<std::size_t>(repetitions);
    std::vector<double> seconds(all.size() * samples);  // by contender and repetition
    for (std::size_t r = 0; r < samples; ++r)
      for (std::size_t c = 0; c < all.size(); ++c) {
        // Each rank has just written its array, from the end to the beginning, as backward has.
        std::ranges::fill(std::views::reverse(data(all[c])), 0.0F);
        communicator.barrier("the start of a sum");
        const double start_s = now_s();
        all[c].sum(communicator, data(all[c]), wanted.segment_bytes);
        seconds[c * samples + r] = now_s() - start_s;
      }
    communicator.maximum(seconds, "times of the slowest ranks");
    for (std::size_t c = 0; c < all.size(); ++c) {
      const auto first = seconds.begin() + static_cast<std::ptrdiff_t>(c * samples);
      const std::vector<double> slowest(first, first + repetitions);
      report.rows.push_back({.algorithm = all[c].name,
                             .bytes = bytes,
                             .repetitions = repetitions,
                             .seconds = quantiles(slowest),
                             .slowest_seconds = std::ranges::max(slowest)});
    }
  }
  return report;
}

void print(const AllreduceReport& report) {
  fmt::print(
      "allreduce over {} ranks, {} a node; segments of {} KiB; time of the slowest rank; every sum was checked\n",
      report.ranks, report.ranks_per_node, report.segment_bytes >> 10);
  fmt::print("automatic: of arrays in the communicator's memory, as gradients are; the others: of a rank's own\n");
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
  nlohmann::ordered_json json = {{"benchmark", "allreduce"},
                                 {"host", host_name()},
                                 {"ranks", report.ranks},
                                 {"ranks_per_node", report.ranks_per_node},
                                 {"segment_bytes", report.segment_bytes}};
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
