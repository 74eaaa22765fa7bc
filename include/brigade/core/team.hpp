/// Ranks that do something together, for rooms that know nothing of messages.
///
/// The base class is a team of one: its collectives are the identity. communication::Communicator is a team of many.
/// Collectives are called by all ranks of a team in the same order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "brigade/core/error.hpp"

namespace brigade {

/// Memory that all ranks of a team on one node read and write. The kernel frees it when the last rank has let go of it
/// or ended, however it ended.
class SharedBlock {
 public:
  virtual ~SharedBlock() = default;
  /// Zeroed at first, beginning at a page.
  virtual std::span<std::byte> bytes() const = 0;
};

/// How a library that speaks MPI itself (parallel HDF5) is told of a team: handles as MPI_Comm_c2f and MPI_Info_c2f
/// give them. They live as long as this object.
struct MpiHandles {
  virtual ~MpiHandles() = default;
  int communicator = 0, info = 0;
};

/// A call of such a library in which this rank waits for the others, from construction to destruction.
struct WatchedCall {
  virtual ~WatchedCall() = default;
};

class Team {
 public:
  virtual ~Team() = default;
  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }

  virtual void barrier(std::string_view what);
  /// The least of all ranks' numbers.
  virtual std::int64_t minimum(std::int64_t mine, std::string_view what);
  /// Code and message of this rank's failure (code `done`: none) in; the failure of the lowest failed rank is thrown on
  /// all of them, as the kind of Error its code says.
  virtual void agree(std::string_view what, ExitCode code, const std::string& message);

  /// `size` bytes for all ranks together; null, on all of them, if a node does not give that much.
  /// Ranks that share no memory must not ask: see Communicator::node().
  virtual std::unique_ptr<SharedBlock> share(std::size_t size, std::string_view what);
  /// With these MPI-IO hints; null: not a process that MPI has started.
  virtual std::unique_ptr<MpiHandles> mpi(const std::map<std::string, std::string>& hints);
  /// Who is in `what` for too long is named, and the job ends. A team of one waits for nobody: null.
  virtual std::unique_ptr<WatchedCall> watch_call(std::string_view what);
};

/// The team of this process alone.
Team& alone();

/// Throws the failure as the kind of Error that `code` says, marked as one that all ranks throw.
[[noreturn]] void throw_on_all_ranks(ExitCode code, const std::string& message);

/// Runs `work` on every rank; if it throws a brigade::Error on any, the error of the lowest such
/// rank is thrown on all of them, so that all end alike and one can speak. `work` must not
/// communicate, or all of it must; a PeerError goes its way at once, for then there is nobody to agree with.
template <class Work>
void collectively(Team& team, std::string_view what, Work&& work) {
  ExitCode code = ExitCode::done;
  std::string message;
  try {
    work();
  } catch (const PeerError&) {
    throw;
  } catch (const Error& error) {
    code = error.code();
    message = error.what();
  }
  team.agree(what, code, message);
}

}  // namespace brigade
