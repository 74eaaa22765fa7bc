// Before an hour of many nodes is spent: does each rank compute, and each link carry, what the others do?
#pragma once

#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/communication/probe.hpp"

namespace brigade::benchmarks {

// Of one rank, measured while all others do the same.
struct RankSpeed {
  std::string host;
  double flops_per_s = 0;         // fused multiply-adds of all its threads
  double memory_bytes_per_s = 0;  // copy or triad, the better
  int threads = 1;                // that it computes with
  std::vector<int> processors{};  // that it may run on, of `host_processors`; empty: not known
  int host_processors = 0;
};

struct PreflightReport {
  std::vector<RankSpeed> ranks;
  std::vector<communication::Link> links;
  double seconds = 0;  // that it took
};

// A few seconds. Collective; the same report on every rank.
PreflightReport preflight(communication::Communicator& communicator, int threads);

// A line for each rank and link that is far from the median of its kind (links within nodes and between nodes are two
// kinds), and for ranks of a host that have fewer processors than threads (all of them are slow then, so that no median
// tells): what, where, how far, and what to look at. Empty: nothing strikes.
std::vector<std::string> outliers(const PreflightReport& report);

// The numbers, a line for ranks and one for each kind of link. Of a link that is the only one of its kind, its own.
std::vector<std::string> summary(const PreflightReport& report);

// The summary to stdout, outliers to stderr.
void print(const PreflightReport& report);

}  // namespace brigade::benchmarks
