/// The CPU backend: Kokkos threads, GCC vector extensions inside a thread.
#pragma once

#include <memory>
#include <span>

#include "brigade/core/threads.hpp"
#include "brigade/ops/backend.hpp"

namespace brigade::host {

/// Starts Kokkos for its lifetime; exactly one, in main, after MPI.
class Runtime {
 public:
  /// For the first line of main, before MPI: sets what the OpenMP library reads when it is loaded, unless the user has,
  /// and starts the program again, in the same process.
  static void prepare_process(char** argv);

  /// `threads` of this rank; 0: as many as the process may run on (its affinity mask). If `processors` names one for
  /// each thread, the kernels' threads stay there; all but the calling one, so that threads it starts later, which
  /// inherit its mask, may run on any processor of the process.
  explicit Runtime(int threads, std::span<const int> processors = {});
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
};

/// Needs a live Runtime. Results are the same bits for any number of threads.
std::unique_ptr<ops::Backend> make_backend();

/// Those of the Runtime, while they compute nothing: for the thread that started it.
Threads& kernel_threads();

}  // namespace brigade::host
