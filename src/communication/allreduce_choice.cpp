// Which way a sum takes: decided from the options, the ranks, their nodes and the bytes, equally on all ranks, without
// a word between them.
//
// Between N nodes that share nothing, with a latency of L seconds a message and G seconds a byte, K bytes take
//
//      ring               2 (N-1) L                 + 2 (N-1)/N K G      (K / 2 on a wire of 16 bits)
//      halving-doubling   2 log2 P L     [ + 2 L ]  + 2 (P-1)/P K G      [ + 2 K G ]
//
// P is the largest power of two up to N; if it is less, the other nodes' arrays are folded in and out: [ ]. So halving
// and doubling saves rounds and costs bytes, and wins up to the size where rounds saved x L = bytes more x G, in which
// the links count only by L / G, the bytes that they carry in one latency. K are the bytes of a node, however many
// ranks share its link. Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH",
// 2005.
//
// Where both send the same bytes, halving and doubling wins until the chunks of the ring are so long that they flow: it
// pauses between its exchanges, and the segments of a ring do not.
//
// The numbers are from tests/hosts/measure-allreduce-table.sh, on network namespaces of a machine with two processors.
#include <algorithm>
#include <bit>

#include "allreduce_state.hpp"
#include "communicator_impl.hpp"

namespace brigade::communication {
namespace {

// L / G: two hosts on 10 Gbit/s exchange a short message in 16 us. (Four take turns on the processors; there it is
// about 50 KB.)
constexpr double kLatencyBytes = 20e3;
// Bytes of a sum, for each node, from which on a ring flows: its chunks are longer than a segment. Halving and doubling
// took, of the ring's time at 10 and at 1 Gbit/s, with 4 and with 16 MiB
//
//      2 hosts   0.70 0.70   0.82 0.80
//      4 hosts   0.90 0.88   0.89 1.33
//      8 hosts   0.86 1.02   0.96 1.15
constexpr double kFlowing = 1U << 20;

// The exchanges of halving-doubling over so many ranks.
struct Halving {
  explicit Halving(int ranks)
      : power(static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks)))),
        rounds(std::countr_zero(static_cast<unsigned>(power))),
        folds(ranks > power ? 1 : 0) {}
  int power, rounds;
  int folds;  // 1: there are more ranks than `power`
};

bool shares_memory(const Communicator::Impl& impl) { return impl.node_size > 1 && impl.nodes > 0; }

// Of the bytes that are summed, those that a rank sends; folds come in addition.
double ring_share(int ranks) { return 2.0 * (ranks - 1) / ranks; }
double halving_share(const Halving& halving) { return 2.0 * (halving.power - 1) / halving.power; }

}  // namespace

std::size_t shipped_short_bytes(int nodes, Wire wire) {
  EXPECT(nodes > 1);
  const Halving halving(nodes);
  const double rounds_saved = 2.0 * (nodes - 1) - 2.0 * (halving.rounds + halving.folds);
  const double bytes_more =
      halving_share(halving) + 2.0 * halving.folds - ring_share(nodes) * (wire == Wire::fp32 ? 1 : 0.5);
  const double bytes = bytes_more > 0 ? rounds_saved / bytes_more * kLatencyBytes : nodes * kFlowing;
  // Shorter ones are exchanged whole, in half the rounds.
  return std::max(kWholeFloats * sizeof(float), static_cast<std::size_t>(bytes));
}

void check(const AllreduceOptions& options) {
  const Algorithm algorithm = options.algorithm;
  require<OptionError>(!options.one_tree || (algorithm != Algorithm::ring && algorithm != Algorithm::mpi),
                       "--allreduce {} does not sum in an order that --reproducible could keep. Use auto, hierarchical "
                       "or halving-doubling?",
                       name_of(algorithm));
  require<OptionError>(
      options.wire == Wire::fp32 || !options.one_tree,
      "--wire {} is for sums by ring, which --reproducible rules out (it sums as one binary tree). Use "
      "--wire fp32?",
      name_of(options.wire));
  require<OptionError>(
      options.wire == Wire::fp32 || (algorithm != Algorithm::halving_doubling && algorithm != Algorithm::mpi),
      "--wire {} is for sums by ring, and --allreduce {} takes none. Use --wire fp32, or --allreduce auto?",
      name_of(options.wire), name_of(algorithm));
}

int exchanging_nodes(const Communicator& communicator) {
  const Communicator::Impl* impl = communicator.impl();
  if (impl == nullptr) return 1;
  return shares_memory(*impl) ? impl->nodes : impl->size;
}

SumRoute route_of(const Communicator::Impl& impl, std::size_t bytes, const AllreduceOptions& options) {
  check(options);
  const Algorithm algorithm = options.algorithm;
  if (algorithm != Algorithm::automatic && algorithm != Algorithm::hierarchical)
    return {.between = algorithm, .wire = options.wire, .peers = impl.size};
  const bool node_memory = shares_memory(impl) && (!options.one_tree || impl.nodes_are_branches);
  SumRoute route{.node_memory = node_memory,
                 .between = std::nullopt,
                 .peers = node_memory ? impl.nodes : impl.size,
                 .slices = node_memory ? impl.node_size : 1};
  if (route.peers == 1) return route;
  const std::size_t short_bytes =
      options.short_bytes ? *options.short_bytes : shipped_short_bytes(route.peers, options.wire);
  const bool halving = options.one_tree || bytes <= short_bytes;
  route.between = halving ? Algorithm::halving_doubling : Algorithm::ring;
  if (!halving) route.wire = options.wire;
  return route;
}

SumRoute route_of(const Communicator& communicator, std::size_t bytes, const AllreduceOptions& options) {
  if (communicator.impl() != nullptr) return route_of(*communicator.impl(), bytes, options);
  check(options);
  return {};
}

std::size_t message_bytes(const SumRoute& route, std::size_t bytes) {
  if (!route.between) return 0;
  const auto slices = static_cast<std::size_t>(route.slices);
  const std::size_t floats = (bytes / sizeof(float) + slices - 1) / slices;
  const auto slice = static_cast<double>(floats * sizeof(float));
  if (route.between != Algorithm::halving_doubling)
    return static_cast<std::size_t>(ring_share(route.peers) * slice * (route.wire == Wire::fp32 ? 1 : 0.5));
  const Halving halving(route.peers);
  const double exchanged = floats <= kWholeFloats ? halving.rounds : halving_share(halving);
  return static_cast<std::size_t>((exchanged + halving.folds) * slice);
}

std::string_view name_of(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::automatic: return "auto";
    case Algorithm::ring: return "ring";
    case Algorithm::halving_doubling: return "halving-doubling";
    case Algorithm::hierarchical: return "hierarchical";
    case Algorithm::mpi: return "mpi";
  }
  return "";
}

std::string_view name_of(Wire wire) {
  switch (wire) {
    case Wire::fp32: return "fp32";
    case Wire::bf16: return "bf16";
    case Wire::fp16: return "fp16";
  }
  return "";
}

}  // namespace brigade::communication
