#include "preflight.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "brigade/core/clock.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/core/processors.hpp"
#include "brigade/telemetry/place.hpp"
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

// "4 98.5e9 19.1e9 8 0,1,2,3": a RankSpeed but for its host.
std::string to_line(const RankSpeed& own) {
  return fmt::format("{} {:.17g} {:.17g} {} {}", own.threads, own.flops_per_s, own.memory_bytes_per_s,
                     own.host_processors, fmt::join(own.processors, " "));
}

RankSpeed speed_from(const std::string& line, const std::string& host) {
  RankSpeed speed{.host = host};
  std::istringstream text(line);
  text >> speed.threads >> speed.flops_per_s >> speed.memory_bytes_per_s >> speed.host_processors;
  for (int processor = 0; text >> processor;) speed.processors.push_back(processor);
  return speed;
}

void add_slow_ranks(const PreflightReport& report, std::vector<std::string>& lines) {
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
}

// Ranks of a host whose processors overlap, be it through others, and all their processors.
struct Sharers {
  std::string host;
  std::vector<std::size_t> ranks;
  std::set<int> processors;
  int threads = 0, host_processors = 0;
};

std::vector<Sharers> sharers_of(const PreflightReport& report) {
  std::vector<Sharers> groups;
  for (std::size_t rank = 0; rank < report.ranks.size(); ++rank) {
    const RankSpeed& own = report.ranks[rank];
    if (own.processors.empty()) continue;
    Sharers mine{own.host, {rank}, {own.processors.begin(), own.processors.end()}, own.threads, own.host_processors};
    std::erase_if(groups, [&](const Sharers& other) {
      const bool apart = std::ranges::none_of(own.processors, [&](int p) { return other.processors.contains(p); });
      if (other.host != mine.host || apart) return false;
      mine.ranks.insert(mine.ranks.end(), other.ranks.begin(), other.ranks.end());
      mine.processors.insert(other.processors.begin(), other.processors.end());
      mine.threads += other.threads;
      return true;
    });
    groups.push_back(std::move(mine));
  }
  return groups;
}

void add_wrong_bindings(const PreflightReport& report, std::vector<std::string>& lines) {
  constexpr std::size_t kNamed = 8;
  std::map<std::string, std::set<int>> used;  // by host
  for (const RankSpeed& own : report.ranks) used[own.host].insert(own.processors.begin(), own.processors.end());
  for (Sharers& group : sharers_of(report)) {
    const auto processors = static_cast<int>(group.processors.size());
    if (group.threads <= processors) continue;
    std::ranges::sort(group.ranks);
    const bool alone = group.ranks.size() == 1;
    std::string ranks = fmt::format(
        "{}", fmt::join(group.ranks.begin(), group.ranks.begin() + std::min(kNamed, group.ranks.size()), ", "));
    if (group.ranks.size() > kNamed) ranks += fmt::format(" and {} more", group.ranks.size() - kNamed);
    const auto idle = group.host_processors - static_cast<int>(used[group.host].size());
    lines.push_back(
        fmt::format("rank{} {} of host {} {} processor{} {} of {} with {} threads{}. {}", alone ? "" : "s", ranks,
                    group.host, alone ? "has" : "share", processors == 1 ? "" : "s",
                    telemetry::as_ranges({group.processors.begin(), group.processors.end()}), group.host_processors,
                    group.threads, idle > 0 ? fmt::format(" (left to nobody: {})", idle) : "",
                    idle > 0 ? fmt::format("Bind with `mpirun --map-by slot:PE={0}` or `srun --cpus-per-task={0} "
                                           "--cpu-bind=cores`?",
                                           (group.threads + std::ssize(group.ranks) - 1) / std::ssize(group.ranks))
                             : "Use fewer ranks on it, or fewer --threads?"));
  }
}

std::string name_of(const Link& link, const PreflightReport& report) {
  const auto host = [&](int rank) { return report.ranks[static_cast<std::size_t>(rank)].host; };
  return fmt::format("rank {} on {} and rank {} on {}", link.from, host(link.from), link.to, host(link.to));
}

std::vector<Link> links_of(const PreflightReport& report, bool between_nodes) {
  std::vector<Link> kind;
  std::ranges::copy_if(report.links, std::back_inserter(kind), [&](const Link& link) {
    const auto host = [&](int rank) { return report.ranks[static_cast<std::size_t>(rank)].host; };
    return (host(link.from) != host(link.to)) == between_nodes;
  });
  return kind;
}

void add_strange_links(const PreflightReport& report, bool between_nodes, std::vector<std::string>& lines) {
  const std::vector<Link> kind = links_of(report, between_nodes);
  const double bandwidth = median_of(kind, &Link::bytes_per_s),
               latency = median_of(kind, &Link::latency_s, Better::smaller);
  for (const Link& link : kind) {
    const std::string where = "the link of " + name_of(link, report);
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

// "2.5 (1.5 ... 3.5)"
template <class T>
std::string spread(const std::vector<T>& all, double T::*number, double unit, Better better = Better::larger) {
  const auto [least, most] = std::ranges::minmax(all, {}, number);
  return fmt::format("{:.2f} ({:.2f} ... {:.2f})", median_of(all, number, better) * unit, least.*number * unit,
                     most.*number * unit);
}

}  // namespace

PreflightReport preflight(communication::Communicator& communicator, int threads) {
  const Stopwatch watch;
  PreflightReport report;
  const auto hosts = communicator.hosts();
  communicator.barrier("preflight");
  const Ceilings ceilings = measure_ceilings(threads, Probe::quick);
  const RankSpeed own{.host = host_name(),
                      .flops_per_s = ceilings.flops_per_s,
                      .memory_bytes_per_s = ceilings.bandwidth.best_bytes_per_s(),
                      .threads = threads,
                      .processors = allowed_processors(),
                      .host_processors = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN))};
  const auto lines = communicator.all_gather(to_line(own), "preflight");
  for (std::size_t rank = 0; rank < lines.size(); ++rank) report.ranks.push_back(speed_from(lines[rank], hosts[rank]));
  report.links = communication::probe_links(communicator);
  report.seconds = watch.elapsed();
  return report;
}

std::vector<std::string> outliers(const PreflightReport& report) {
  std::vector<std::string> lines;
  add_wrong_bindings(report, lines);
  add_slow_ranks(report, lines);
  add_strange_links(report, false, lines);
  add_strange_links(report, true, lines);
  return lines;
}

std::vector<std::string> summary(const PreflightReport& report) {
  std::vector<std::string> lines{fmt::format(
      "preflight in {:.1f} s, median (least ... most) of {} ranks and {} links: arithmetic {} GFLOP/s, memory {} GB/s",
      report.seconds, report.ranks.size(), report.links.size(), spread(report.ranks, &RankSpeed::flops_per_s, 1e-9),
      spread(report.ranks, &RankSpeed::memory_bytes_per_s, 1e-9))};
  for (const bool between_nodes : {false, true}) {
    const std::vector<Link> kind = links_of(report, between_nodes);
    const char* where = between_nodes ? "between nodes" : "within a node";
    if (kind.size() == 1)
      lines.push_back(
          fmt::format("the only link {}, {}: {:.2f} GB/s ({:.2f} Gbit/s) each way, latency {:.1f} us; with "
                      "no other to compare it with, is that what it should be?",
                      where, name_of(kind[0], report), kind[0].bytes_per_s * 1e-9, kind[0].bytes_per_s * 8e-9,
                      kind[0].latency_s * 1e6));
    if (kind.size() > 1)
      lines.push_back(fmt::format("{} links {}: {} GB/s each way, latency {} us", kind.size(), where,
                                  spread(kind, &Link::bytes_per_s, 1e-9),
                                  spread(kind, &Link::latency_s, 1e6, Better::smaller)));
  }
  return lines;
}

void print(const PreflightReport& report) {
  for (const std::string& line : summary(report)) fmt::print("{}\n", line);
  const std::vector<std::string> strange = outliers(report);
  if (strange.empty()) fmt::print("nothing strikes\n");
  std::fflush(stdout);
  for (const std::string& line : strange) fmt::print(stderr, "preflight: {}\n", line);
}

}  // namespace brigade::benchmarks
