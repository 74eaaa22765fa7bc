#include "preflight.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <iterator>

#include "brigade/core/clock.hpp"
#include "ceilings.hpp"

namespace brigade::benchmarks {
namespace {

using communication::Link;

// Shared machines differ by a third without being broken; a wrong binding or a link at a lower speed costs half.
constexpr double kSlow = 0.6;
// Latencies jitter more, and below this one nobody's step notices.
constexpr double kLate = 3, kLateAtLeast_s = 50e-6;

enum class Better : std::uint8_t { larger, smaller };

// Of an even number of values the better of the two in the middle, so that one of two ranks can be named.
double median(std::vector<double> values, Better better) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + (std::ssize(values) - (better == Better::smaller ? 1 : 0)) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <class T>
double median_of(const std::vector<T>& all, double T::*number, Better better = Better::larger) {
  std::vector<double> values;
  for (const T& one : all) values.push_back(one.*number);
  return median(std::move(values), better);
}

std::string percent_of(double value, double median) {
  return fmt::format("{:.0f} % of the median", 100 * value / median);
}

}  // namespace

PreflightReport preflight(communication::Communicator& communicator, int threads) {
  const Stopwatch watch;
  PreflightReport report;
  const auto hosts = communicator.hosts();
  communicator.barrier("preflight");
  const Ceilings own = measure_ceilings(threads, Probe::quick);
  const std::vector<double> speeds =
      communicator.all_gather(std::array{own.flops_per_s, own.bandwidth.best_bytes_per_s()}, "preflight");
  for (std::size_t rank = 0; rank < hosts.size(); ++rank)
    report.ranks.push_back({hosts[rank], speeds[2 * rank], speeds[2 * rank + 1]});
  report.links = communication::probe_links(communicator);
  report.seconds = watch.elapsed();
  return report;
}

std::vector<std::string> outliers(const PreflightReport& report) {
  std::vector<std::string> lines;
  const double flops = median_of(report.ranks, &RankSpeed::flops_per_s);
  const double memory = median_of(report.ranks, &RankSpeed::memory_bytes_per_s);
  for (std::size_t rank = 0; rank < report.ranks.size(); ++rank) {
    const RankSpeed& own = report.ranks[rank];
    if (own.flops_per_s < kSlow * flops)
      lines.push_back(
          fmt::format("rank {} on {} computes at {} ({:.1f} GFLOP/s). Are its threads bound to the same cores as "
                      "others', or is the node busy or throttled?",
                      rank, own.host, percent_of(own.flops_per_s, flops), own.flops_per_s * 1e-9));
    if (own.memory_bytes_per_s < kSlow * memory)
      lines.push_back(
          fmt::format("rank {} on {} reaches {} of memory bandwidth ({:.1f} GB/s). Does it use another socket's "
                      "memory, or share the node with another job?",
                      rank, own.host, percent_of(own.memory_bytes_per_s, memory), own.memory_bytes_per_s * 1e-9));
  }
  for (const bool between_nodes : {false, true}) {
    std::vector<Link> kind;
    std::ranges::copy_if(report.links, std::back_inserter(kind), [&](const Link& link) {
      const auto host = [&](int rank) { return report.ranks[static_cast<std::size_t>(rank)].host; };
      return (host(link.from) != host(link.to)) == between_nodes;
    });
    const double bandwidth = median_of(kind, &Link::bytes_per_s),
                 latency = median_of(kind, &Link::latency_s, Better::smaller);
    for (const Link& link : kind) {
      const std::string where = fmt::format("the link of rank {} on {} and rank {} on {}", link.from,
                                            report.ranks[static_cast<std::size_t>(link.from)].host, link.to,
                                            report.ranks[static_cast<std::size_t>(link.to)].host);
      if (link.bytes_per_s < kSlow * bandwidth)
        lines.push_back(
            fmt::format("{} carries {} ({:.2f} GB/s each way). Is a port at a lower speed, or the wrong network "
                        "chosen?",
                        where, percent_of(link.bytes_per_s, bandwidth), link.bytes_per_s * 1e-9));
      if (link.latency_s > std::max(kLate * latency, kLateAtLeast_s))
        lines.push_back(
            fmt::format("{} takes {:.0f} us a message, the median is {:.0f} us. Is the node busy, or far away?", where,
                        link.latency_s * 1e6, latency * 1e6));
    }
  }
  return lines;
}

void print(const PreflightReport& report) {
  const auto range = [](std::vector<double> values, double unit, Better better = Better::larger) {
    const auto [least, most] = std::ranges::minmax(values);
    return fmt::format("{:.1f} ({:.1f} ... {:.1f})", median(values, better) * unit, least * unit, most * unit);
  };
  std::vector<double> flops, memory, bandwidth, latency;
  for (const RankSpeed& own : report.ranks) flops.push_back(own.flops_per_s), memory.push_back(own.memory_bytes_per_s);
  for (const Link& link : report.links) bandwidth.push_back(link.bytes_per_s), latency.push_back(link.latency_s);
  fmt::print(
      "preflight in {:.1f} s, median (least ... most) of {} ranks and {} links: arithmetic {} GFLOP/s, memory {} GB/s",
      report.seconds, flops.size(), report.links.size(), range(flops, 1e-9), range(memory, 1e-9));
  if (!report.links.empty())
    fmt::print(", links {} GB/s each way, latency {} us", range(bandwidth, 1e-9), range(latency, 1e6, Better::smaller));
  const std::vector<std::string> strange = outliers(report);
  fmt::print("{}\n", strange.empty() ? "; nothing strikes" : "");
  std::fflush(stdout);
  for (const std::string& line : strange) fmt::print(stderr, "preflight: {}\n", line);
}

}  // namespace brigade::benchmarks
