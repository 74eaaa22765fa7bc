// What every algorithm of Allreduce is to its door.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "brigade/communication/allreduce.hpp"

namespace brigade::communication {

struct Allreduce::State {
  explicit State(Communicator::Impl& communicator) : impl(communicator) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  virtual ~State() = default;

  /// Does what can be done without waiting; true if anything was done.
  virtual bool advance() = 0;
  virtual bool done() const = 0;
  virtual std::size_t bytes_sent() const = 0;

  Communicator::Impl& impl;
};

/// An algorithm over messages; `tag` keeps its messages apart, equal on all ranks. Only the ring knows a wire but fp32.
using StartSum = std::unique_ptr<Allreduce::State> (*)(Communicator::Impl& impl, std::span<float> data,
                                                       std::size_t segment_bytes, int tag, Wire wire);
std::unique_ptr<Allreduce::State> start_ring(Communicator::Impl& impl, std::span<float> data, std::size_t segment_bytes,
                                             int tag, Wire wire);
std::unique_ptr<Allreduce::State> start_halving_doubling(Communicator::Impl& impl, std::span<float> data,
                                                         std::size_t segment_bytes, int tag, Wire wire);

/// Arrays up to here are exchanged whole by halving and doubling, in half as many rounds.
inline constexpr std::size_t kWholeFloats = 4096;

/// As the door's route_of(), of more than one rank.
SumRoute route_of(const Communicator::Impl& impl, std::size_t bytes, const AllreduceOptions& options);

/// How a sum goes on between nodes, or between ranks that share nothing.
struct ByMessages {
  StartSum start_sum;
  std::size_t segment_bytes;
  Wire wire;

  std::unique_ptr<Allreduce::State> start(Communicator::Impl& impl, std::span<float> data, int tag) const {
    return start_sum(impl, data, segment_bytes, tag, wire);
  }
};

/// All ranks are on one node.
std::unique_ptr<Allreduce::State> start_node_sum(Communicator::Impl& impl, std::span<float> data,
                                                 std::size_t segment_bytes);
/// Several nodes of equally many ranks; `between` sums between them.
std::unique_ptr<Allreduce::State> start_hierarchical(Communicator::Impl& impl, std::span<float> data,
                                                     const ByMessages& between);

}  // namespace brigade::communication
