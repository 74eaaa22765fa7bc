/// Ranks and what they say to one another.
///
/// A default Communicator is rank 0 of 1: its collectives are the identity. Absence is an object,
/// not an #if. Collectives must be called by all ranks in the same order, and their waits are watched: a
/// rank that waits longer than hang_timeout_s throws PeerError and says for whom and in what; ranks are called as in
/// world(), also by communicators split off from it. After that only abort() makes sense: the memory given to the call
/// may still be read or written by MPI. The same is thrown, by one rank of a node, as soon as another rank there has
/// ended without abort() (was killed, say), where the kernel can tell. Not watched are world(), before which the ranks
/// do not know one another, and the short rest of split(), share() and allocations from array_memory(), once all ranks
/// have come to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "brigade/core/error.hpp"
#include "brigade/core/memory.hpp"
#include "brigade/core/team.hpp"
#include "brigade/core/threads.hpp"

namespace brigade::communication {

/// Starts MPI for its lifetime (thread level FUNNELED, errors returned, never fatal). Started
/// without mpirun or srun, the process is rank 0 of 1. The end waits for all ranks, but not after a
/// PeerError nor while an exception unwinds: catch errors inside its lifetime.
class Environment {
 public:
  Environment(int& argc, char**& argv);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
};

class Communicator final : public Team {
 public:
  Communicator();  ///< rank 0 of 1
  /// All ranks of the job, on a communicator of its own. Needs a live Environment. At most `max_node_size` ranks count
  /// as one node, in rank order (0: all that share memory).
  static Communicator world(double hang_timeout_s = 300, int max_node_size = 0);
  /// From now on, for all communicators of the same world(). Throws OptionError unless it is positive.
  void set_hang_timeout(double seconds);
  /// Which add and copy long arrays in sums; at first the calling thread alone. The same bits with any number. For all
  /// communicators of the same world(), and until the next call, as long as `threads` live.
  void set_threads(Threads& threads);
  ~Communicator() override;
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;

  /// Collective: the ranks that give the same `part` (>= 0), in rank order, as a communicator of their own, which makes
  /// no use of shared memory. It must not outlive the world() it comes from.
  Communicator split(int part) const;

  int rank() const override;
  int size() const override;
  int node_rank() const;  ///< among the ranks that share this node's memory
  int node_size() const;
  /// Names of the hosts by rank, exchanged when the communicator was made.
  std::vector<std::string> hosts() const;
  /// The ranks of this node, as a team with watched waits of its own.
  Team& node();

  /// Host memory for arrays that will be summed; it must not outlive the communicator. Where ranks share a node's
  /// memory, sums of whole arrays or of parts of them happen in place, without copies, if all ranks give the same part.
  /// Allocating is then collective: all ranks ask for the same sizes in the same order.
  MemoryResource& array_memory() const;

  void barrier(std::string_view what) override;
  std::int64_t minimum(std::int64_t mine, std::string_view what) override;
  void agree(std::string_view what, ExitCode code, const std::string& message) override;
  std::unique_ptr<SharedBlock> share(std::size_t size, std::string_view what) override;
  std::unique_ptr<MpiHandles> mpi(const std::map<std::string, std::string>& hints) override;
  /// One at a time. When it lasts longer than the hang timeout, nothing is thrown, for the call cannot be left: a
  /// message goes to stderr, and the process ends with exit code 5.
  std::unique_ptr<WatchedCall> watch_call(std::string_view what) override;
  /// `say` is told the problem, on another thread, before a watched call ends the process.
  void set_last_words(std::function<void(const std::string& problem)> say);
  /// Bytes of `root` to all.
  void broadcast(std::span<std::byte> bytes, int root, std::string_view what);
  std::string broadcast(std::string text, int root, std::string_view what);
  /// Element sums over ranks, left on every rank; doubles are added in rank order, so all ranks hold
  /// the same bits, which takes the memory of all_gather().
  void sum(std::span<std::int64_t> values, std::string_view what);
  void sum(std::span<double> values, std::string_view what);
  /// Of each element the greatest of all ranks, left on every rank.
  void maximum(std::span<double> values, std::string_view what);
  /// Every rank's numbers, equally many, in rank order, on every rank.
  std::vector<double> all_gather(std::span<const double> mine, std::string_view what);
  /// Every rank's text, in rank order, on every rank. Throws DataError if they are 2 GiB or more together.
  std::vector<std::string> all_gather(const std::string& mine, std::string_view what);

  /// Ends the whole job now, with this exit code on all ranks.
  [[noreturn]] void abort(ExitCode code);

  /// The MPI side, for the other files of this room.
  struct Impl;
  Impl* impl() const { return impl_.get(); }

 private:
  std::unique_ptr<Impl> impl_;  // null: rank 0 of 1
};

using brigade::collectively;

}  // namespace brigade::communication
