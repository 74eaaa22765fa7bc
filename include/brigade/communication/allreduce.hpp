/// Sums of float arrays over all ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "brigade/communication/communicator.hpp"

namespace brigade::communication {

enum class Algorithm : std::uint8_t {
  automatic,         ///< through shared memory where ranks share it; between nodes by size: halving_doubling or ring
  ring,              ///< segmented and pipelined: long messages, any number of ranks
  halving_doubling,  ///< 2 log2 N exchanges: short messages; summed as a binary tree over the ranks
  hierarchical,      ///< through shared memory on each node (a binary tree over its ranks); between nodes as automatic
  mpi,               ///< MPI_Iallreduce
};

/// "auto", "ring", "halving-doubling", "hierarchical", "mpi"
std::string_view name_of(Algorithm algorithm);

/// What floats are on their way between ranks that exchange messages. bf16 and fp16 halve the bytes; what arrives is
/// added in fp32, and every partial sum is rounded once for each rank it passes. For the ring: between nodes, or
/// chosen; sums too short for one and those through shared memory stay exact.
enum class Wire : std::uint8_t {
  fp32,
  bf16,  ///< 8 bits of significand, the range of fp32
  /// 11 bits of significand, times a power of two for each segment, so that nothing overflows; what is less than 2^-28
  /// of a segment's largest number loses bits
  fp16,
};

/// "fp32", "bf16", "fp16"
std::string_view name_of(Wire wire);

/// The size of a sum in bytes up to which `automatic` and `hierarchical` exchange it between so many nodes (at least
/// two) by halving_doubling, the longer ones by ring, whose messages have this format. It rests on measurements
/// (allreduce_choice.cpp).
std::size_t shipped_short_bytes(int nodes, Wire wire = Wire::fp32);

struct AllreduceOptions {
  Algorithm algorithm = Algorithm::automatic;
  Wire wire = Wire::fp32;
  /// A chunk travels in pieces of this size, so that adding one overlaps with receiving the next.
  /// Shared memory takes pieces of at most 256 KiB; links of 1 Gbit/s want no less than this.
  std::size_t segment_bytes = 1U << 20;
  /// The sum is one binary tree over 2, 4, 8 ... ranks, ((0+1) + (2+3)) + ..., whatever its size and the nodes. Ring
  /// and MPI's algorithm cannot: OptionError.
  bool one_tree = false;
  /// Instead of shipped_short_bytes() of the nodes, as measured on them. Equal on all ranks.
  std::optional<std::size_t> short_bytes = {};
};
/// Throws OptionError where they contradict one another.
void check(const AllreduceOptions& options);

/// How many exchange messages when `automatic` sums: nodes, or ranks where those of a node cannot add in shared memory;
/// 1: there is nothing to exchange.
int exchanging_nodes(const Communicator& communicator);

/// How a sum is done once `automatic` and `hierarchical` have been decided.
struct SumRoute {
  bool node_memory = false;  ///< ranks of a node add in shared memory, so that each has a slice to sum between nodes
  std::optional<Algorithm> between;  ///< ring, halving_doubling or mpi: by messages between nodes (without node_memory:
                                     ///< ranks); none: there is nobody else
  Wire wire = Wire::fp32;            ///< of these messages
  int peers = 1;                     ///< ranks that exchange them with one another
  int slices = 1;                    ///< into which the ranks of a node divide what is exchanged
};
/// Of a sum of `bytes` over these ranks; the same on all of them. Does not communicate. Throws OptionError where the
/// options contradict one another.
SumRoute route_of(const Communicator& communicator, std::size_t bytes, const AllreduceOptions& options);
/// What the rank that sends most sends in messages for a sum of `bytes`, but for scales of fp16 and for what cannot be
/// divided equally; Algorithm::mpi: what an optimal algorithm would send.
std::size_t message_bytes(const SumRoute& route, std::size_t bytes);

/// A sum in flight: a small state machine that moves on whenever somebody calls advance(). `data`
/// is summed in place and must stay alive and untouched until done. Several may be in flight; all
/// ranks start them in the same order, and who waits for one has waited for the older ones or goes on with their
/// advance(), as the reducer does. All ranks end with the same bits (for a given number of ranks and of nodes);
/// only MPI's own algorithm just promises to be close.
class Allreduce {
 public:
  Allreduce(Communicator& communicator, std::span<float> data, const AllreduceOptions& options = {});
  ~Allreduce();
  Allreduce(Allreduce&&) noexcept;
  Allreduce& operator=(Allreduce&&) noexcept;

  /// Does what can be done without waiting; true if anything was done.
  bool advance();
  /// The sum is complete on this rank.
  bool done() const;
  /// Waits for completion; throws PeerError after the communicator's hang timeout.
  void wait(std::string_view what);
  /// Bytes this rank has sent for this sum so far (Algorithm::mpi: what an optimal algorithm would send; hierarchical:
  /// between nodes, on a single node what it has shown to the others).
  std::size_t bytes_sent() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

/// MPI's own blocking sum, whichever algorithm it picks; for comparison. Its wait is not watched.
void mpi_allreduce(Communicator& communicator, std::span<float> data);

/// Start and wait.
void allreduce(Communicator& communicator, std::span<float> data, const AllreduceOptions& options = {});

}  // namespace brigade::communication
