#include "backend_options.hpp"

#include <sched.h>

#include <algorithm>

#include "brigade/core/host_name.hpp"
#include "brigade/device/backend.hpp"

namespace brigade::cli {
namespace {

// The processors this process may run on, as text, and how many.
std::pair<std::string, int> affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {"", 1};
  std::string mask;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) mask += fmt::format("{},", cpu);
  return {mask, CPU_COUNT(&set)};
}

// Ranks that were bound to processors of their own use all of these; ranks that share a set divide it.
int threads_of_this_rank(communication::Communicator& communicator) {
  const auto [mask, cpus] = affinity();
  const std::string mine = host_name() + ":" + mask;
  const auto all = communicator.all_gather(mine, "comparing processor bindings");
  return std::max(1, cpus / static_cast<int>(std::count(all.begin(), all.end(), mine)));
}

}  // namespace

void BackendOptions::declare(Options& options) {
  options.choice("backend", kind, {{"host", BackendKind::host}, {"cuda", BackendKind::cuda}}, "where to compute")
      .add("threads", threads,
           "threads of each rank; 0: the processors it may use, divided among the ranks that share them");
}

LiveBackend::LiveBackend(const BackendOptions& options, communication::Communicator& communicator) {
  communication::collectively(communicator, "checking --threads", [&] {
    require<OptionError>(options.threads >= 0, "--threads {} is negative", options.threads);
  });
  const int cpus = affinity().second;
  if (options.kind == BackendKind::host && options.threads > cpus && communicator.rank() == 0)
    fmt::print(
        stderr,
        "warning: {} threads a rank will share {} processor{} (the launcher binds ranks to them). Use mpirun --map-by "
        "slot:PE={} or --bind-to none, or srun --cpus-per-task={}?\n",
        options.threads, cpus, cpus == 1 ? "" : "s", options.threads, options.threads);
  if (options.kind == BackendKind::host) {
    runtime_.emplace(options.threads > 0 ? options.threads : threads_of_this_rank(communicator));
    backend_ = host::make_backend();
  } else {
    communication::collectively(communicator, "starting the GPU", [&] { backend_ = device::make_backend(); });
  }
}

}  // namespace brigade::cli
