// Were as many ranks started as Slurm granted, and where it granted them?
//
// Two mistakes are easy to make and waste hours: `srun` with an --mpi type that this MPI does not speak starts every
// task as a rank 0 of 1, each of which works alone into the same files; and a launcher that does not see the whole
// allocation leaves nodes idle, or crowds one of them.
#pragma once

#include "brigade/communication/communicator.hpp"

namespace brigade::cli {

// What the environment says before MPI starts and adds its own to it.
class Launch {
 public:
  Launch();

  // Before MPI starts: throws OptionError if srun started several tasks that cannot find each other.
  void check_tasks() const;
  // The same once MPI has counted its ranks.
  void check_tasks(const communication::Communicator& world) const;
  // Whether this process may say what went wrong, of all that a launcher started and MPI did not join.
  bool is_first_task() const { return first_task_; }

  // Throws OptionError, on all ranks alike, unless MPI's ranks are all those Slurm granted the job or step, on the
  // nodes it meant them for. Collective.
  void check_allocation(communication::Communicator& world) const;

 private:
  bool by_mpirun_, first_task_;
  int tasks_;  // that srun started this one among; 0: srun did not
};

}  // namespace brigade::cli
