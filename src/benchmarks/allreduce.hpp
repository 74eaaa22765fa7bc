// `brigade bench allreduce`: every algorithm over message sizes, beside MPI's own. For cli only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "allreduce_table.hpp"
#include "brigade/communication/allreduce.hpp"
#include "statistics.hpp"

namespace brigade::benchmarks {

struct AllreduceBenchmark {
  std::size_t least_bytes = 4U << 10, most_bytes = 256U << 20;  // sizes in powers of 4 between
  std::size_t segment_bytes = communication::AllreduceOptions{}.segment_bytes;
  int repetitions = 0;  // 0: by size
};

// One algorithm at one size, on all ranks.
struct AllreduceRow {
  std::string algorithm;  // of Brigade, or "MPI_Allreduce"
  std::size_t bytes = 0;
  int repetitions = 0;
  Quantiles seconds;  // of the slowest rank
  double slowest_seconds = 0;

  double algorithm_bytes_per_s() const { return static_cast<double>(bytes) / seconds.median; }
};

struct AllreduceReport {
  int ranks = 1, ranks_per_node = 1;
  int nodes = 1;  // that exchange messages (exchanging_nodes)
  std::size_t segment_bytes = 0;
  std::vector<AllreduceRow> rows = {};

  // What a link carries if each rank sends 2 K (N-1) / N bytes, as no algorithm over messages can undercut.
  double bus_bytes_per_s(const AllreduceRow& row) const {
    return row.algorithm_bytes_per_s() * 2 * (ranks - 1) / ranks;
  }
};

// The algorithms take turns, so that what disturbs one disturbs all. Each one's sum is checked first, value by value.
AllreduceReport measure_allreduce(communication::Communicator& communicator, const AllreduceBenchmark& wanted);

void print(const AllreduceReport& report);
std::string to_json(const AllreduceReport& report);

// Of what was measured, the size up to which halving and doubling between nodes was quicker than the ring: of all sizes
// that part the rows in two, that with which the sums take the least time, each beside its quicker algorithm. 0: the
// ring always was; never more than the largest size measured. The report is of at least two nodes.
ShortBytes measured_short_bytes(const AllreduceReport& report);

}  // namespace brigade::benchmarks
