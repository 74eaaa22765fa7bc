// Whether the other ranks of this node are still alive, asked while one waits for them.
//
// The kernel tells the end of a process, however it came, through a descriptor of it (pidfd_open, Linux 5.3). A rank
// that ends on purpose says so in shared memory first. One that has ended without is a reason to end the job at once
// instead of after the hang timeout; the first rank to see it says so, the others go on waiting, for the job ends now.
#pragma once

#include <mpi.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shared_memory.hpp"

namespace brigade::communication {

class Presence {
 public:
  /// Collective over the ranks of `node`; `rank` is this one's among all of the job.
  Presence(MPI_Comm node, int rank);
  ~Presence();
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;

  /// This rank ends on purpose.
  void leave() const;
  /// Among all of the job: a rank of this node that has ended without leave(), told to one rank of the node only.
  std::optional<int> missing() const;

  /// A sign of life from this rank, at `now` on the clock of now_s(), which all processes of a node share.
  void live(double now) const;
  /// Among all of the job: a rank of this node that gives signs of life, the last of them before `time`.
  std::optional<int> silent_since(double time) const;

 private:
  struct Notes {
    std::atomic<double> lived;    // of a rank: its last sign of life; 0: it gives none
    std::atomic<bool> left;       // of a rank
    std::atomic<bool> announced;  // rank 0's: somebody has told of a missing rank
  };
  struct Neighbour {
    int node_rank, rank, descriptor;
  };

  SharedMemory memory_;
  std::vector<Neighbour> neighbours_;  // those that can be asked about
};

/// What to say of a rank that is missing(), while others waited for it in `what`.
std::string ended_without_a_word(int rank, std::string_view what);

}  // namespace brigade::communication
