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

  Communicator::Impl& impl;
  std::size_t bytes_sent = 0;
};

std::unique_ptr<Allreduce::State> start_ring(Communicator::Impl& impl, std::span<float> data,
                                             std::size_t segment_bytes);

}  // namespace brigade::communication
