/// Sums of float arrays over all ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "brigade/communication/communicator.hpp"

namespace brigade::communication {

enum class Algorithm : std::uint8_t { ring, mpi };

struct AllreduceOptions {
  Algorithm algorithm = Algorithm::ring;
  /// A chunk travels in pieces of this size, so that adding one overlaps with receiving the next.
  std::size_t segment_bytes = 256U << 10;
};

/// A sum in flight: a small state machine that moves on whenever somebody calls progress(). `data`
/// is summed in place and must stay alive and untouched until done. Several may be in flight; all
/// ranks start them in the same order. With Algorithm::ring all ranks end with the same bits (for a given
/// number of ranks); MPI's own algorithm only promises to be close.
class Allreduce {
 public:
  Allreduce(Communicator& communicator, std::span<float> data, const AllreduceOptions& options = {});
  ~Allreduce();
  Allreduce(Allreduce&&) noexcept;
  Allreduce& operator=(Allreduce&&) noexcept;

  /// Does what can be done without waiting; true when the sum is complete on this rank.
  bool progress();
  /// Waits for completion; throws PeerError after the communicator's hang timeout.
  void wait(std::string_view what);
  /// Bytes this rank has sent for this sum so far (Algorithm::mpi: what an optimal algorithm would send).
  std::size_t bytes_sent() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

/// Start and wait.
void allreduce(Communicator& communicator, std::span<float> data, const AllreduceOptions& options = {});

}  // namespace brigade::communication
