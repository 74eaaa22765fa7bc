#include "traffic.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "brigade/network/executor.hpp"
#include "bucket_tuning.hpp"
#include "strategy.hpp"

namespace brigade::training {
namespace {

constexpr int kMostNodes = 4096;  // of which run.json says what they would choose: powers of two

using communication::Algorithm;

std::size_t bytes_of(std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); }
std::size_t array_bytes(const Plan& plan) {  // strategy.hpp
  return bytes_of(kStatusFloats + network::statistics_count(plan.graph) + network::parameter_count(plan.graph));
}

double megabytes(std::size_t bytes) { return static_cast<double>(bytes) * 1e-6; }

bool chooses_by_size(const communication::AllreduceOptions& options) {
  return !options.one_tree &&
         (options.algorithm == Algorithm::automatic || options.algorithm == Algorithm::hierarchical);
}

// "halving-doubling and ring in bf16 between 4 nodes"
std::string described(const std::vector<communication::SumRoute>& routes) {
  std::vector<std::string> ways;
  for (const auto& route : routes) {
    const std::string wire =
        route.wire == communication::Wire::fp32 ? "" : fmt::format(" in {}", communication::name_of(route.wire));
    const std::string way = fmt::format("{}{}", communication::name_of(*route.between), wire);
    if (std::ranges::find(ways, way) == ways.end()) ways.push_back(way);
  }
  return fmt::format("{} between {} {}{}", fmt::join(ways, " and "), routes.front().peers,
                     routes.front().node_memory ? "nodes" : "ranks",
                     routes.front().between == Algorithm::mpi ? " (the bytes are those of an optimal algorithm)" : "");
}

}  // namespace

std::vector<std::size_t> planned_sums(const Plan& plan, const TrainOptions& options) {
  if (options.strategy == StrategyKind::parameter_server) return {};
  if (options.strategy == StrategyKind::local_sgd) {
    const std::size_t weights = bytes_of(network::parameter_count(plan.graph));
    std::vector<std::size_t> sums{weights};
    if (const auto statistics = network::statistics_count(plan.graph); statistics > 0)
      sums.push_back(bytes_of(statistics));
    sums.insert(sums.end(), options.optimizer.kind == OptimizerKind::sgd ? 1 : 2, weights);
    sums.push_back(sizeof(StepStatus));
    return sums;
  }
  const std::size_t all = array_bytes(plan), bucket = bucket_bytes_of(options, all);
  std::vector<std::size_t> sums(all / bucket, bucket);
  if (all % bucket != 0) sums.push_back(all % bucket);
  return sums;
}

Traffic traffic_of(const Plan& plan, const TrainOptions& options, const communication::Communicator& communicator) {
  Traffic traffic;
  for (const std::size_t bytes : planned_sums(plan, options)) {
    traffic.routes.push_back(communication::route_of(communicator, bytes, plan.allreduce));
    traffic.summed_bytes += bytes;
    traffic.sent_bytes += communication::message_bytes(traffic.routes.back(), bytes);
  }
  return traffic;
}

std::string describe_traffic(const Plan& plan, const TrainOptions& options,
                             const communication::Communicator& communicator) {
  if (options.strategy == StrategyKind::parameter_server)
    return fmt::format("traffic         {:.2f} MB pushed to {} server(s), and as much pulled, a step by each worker\n",
                       megabytes(array_bytes(plan)), options.servers);
  if (communicator.size() == 1) return "traffic         none (one rank)\n";
  const Traffic traffic = traffic_of(plan, options, communicator);
  const bool local = options.strategy == StrategyKind::local_sgd;
  const std::string when = local ? fmt::format("every {} steps", options.sync_every) : "a step";
  const std::string what = local ? "weights, statistics and optimizer state" : "gradients and statistics";
  const auto& first = traffic.routes.front();
  if (!first.between)
    return fmt::format("traffic         {:.2f} MB of {} summed {} in the memory that the ranks share\n",
                       megabytes(traffic.summed_bytes), what, when);
  std::string text = fmt::format("traffic         {:.2f} MB sent {} by each rank ({:.2f} MB of {})\n",
                                 megabytes(traffic.sent_bytes), when, megabytes(traffic.summed_bytes), what);
  text += fmt::format("allreduce       {}", described(traffic.routes));
  if (const auto table = allreduce_table_of(plan, options, communicator))
    text += fmt::format("; halving-doubling up to {} KiB, ring above ({})", table->halving_doubling_up_to_bytes >> 10,
                        table->source);
  return text + "\n";
}

std::string note_on_wire(const Plan& plan, const TrainOptions& options,
                         const communication::Communicator& communicator) {
  if (plan.allreduce.wire == communication::Wire::fp32) return {};
  const Traffic traffic = traffic_of(plan, options, communicator);
  const auto travels = [](const communication::SumRoute& route) { return route.wire != communication::Wire::fp32; };
  if (std::ranges::any_of(traffic.routes, travels)) return {};
  const bool sent = std::ranges::any_of(traffic.routes, [](const auto& route) { return route.between.has_value(); });
  return fmt::format("--wire {} changes nothing here ({})", communication::name_of(plan.allreduce.wire),
                     sent ? "all sums are short ones, which no ring makes" : "there are no messages between nodes");
}

std::optional<telemetry::AllreduceTableInfo> allreduce_table_of(const Plan& plan, const TrainOptions& options,
                                                                const communication::Communicator& communicator) {
  const int nodes = communication::exchanging_nodes(communicator);
  const bool sums = options.strategy != StrategyKind::parameter_server;
  if (nodes == 1 || !sums || !chooses_by_size(plan.allreduce)) return {};
  const auto shipped = [&plan](int of_nodes) {
    return static_cast<std::int64_t>(communication::shipped_short_bytes(of_nodes, plan.allreduce.wire));
  };
  if (plan.allreduce.short_bytes)
    return telemetry::AllreduceTableInfo{
        .nodes = nodes,
        .halving_doubling_up_to_bytes = static_cast<std::int64_t>(*plan.allreduce.short_bytes),
        .source = options.allreduce_table};
  telemetry::AllreduceTableInfo table{
      .nodes = nodes, .halving_doubling_up_to_bytes = shipped(nodes), .source = "as shipped"};
  for (int other = 2; other <= kMostNodes; other *= 2)
    if (other != nodes) table.others[other] = shipped(other);
  return table;
}

}  // namespace brigade::training
