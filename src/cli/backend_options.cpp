#include "backend_options.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "brigade/core/host_name.hpp"
#include "brigade/core/processors.hpp"
#include "brigade/device/backend.hpp"

namespace brigade::cli {
namespace {

// Whether the user asked OpenMP itself to bind threads ("false" is also what Runtime::prepare_process sets).
bool bound_by_openmp() {
  const char* bind = std::getenv("OMP_PROC_BIND");
  return std::getenv("GOMP_CPU_AFFINITY") != nullptr || std::getenv("OMP_PLACES") != nullptr ||
         (bind != nullptr && std::string_view(bind) != "false");
}

}  // namespace

ThreadPlacement place_this_rank(int threads, bool pin, communication::Communicator& communicator) {
  const std::vector<int>& allowed = allowed_processors();
  const std::string mine = fmt::format("{}:{}", host_name(), fmt::join(allowed, ","));
  const auto all = communicator.all_gather(mine, "comparing processor bindings");
  const auto sharing = static_cast<std::size_t>(std::count(all.begin(), all.end(), mine));
  const auto before = static_cast<std::size_t>(std::count(all.begin(), all.begin() + communicator.rank(), mine));
  return place_threads(allowed, sharing, before, threads, pin && !bound_by_openmp());
}

ThreadPlacement place_threads(std::span<const int> allowed, std::size_t sharing, std::size_t before, int threads,
                              bool pin) {
  ThreadPlacement placement{.threads = threads};
  if (threads == 0) placement.threads = std::max(1, static_cast<int>(allowed.size() / sharing));
  const auto each = static_cast<std::size_t>(placement.threads);
  if (pin && each > 1 && sharing * each <= allowed.size()) {
    const auto first = allowed.begin() + static_cast<std::ptrdiff_t>(before * each);
    placement.processors.assign(first, first + placement.threads);
  }
  return placement;
}

void BackendOptions::declare(Options& options) {
  options
      .choice("backend", kind, {{"host", BackendKind::host}, {"cuda", BackendKind::cuda}},
              "where to compute; this version has no cuda")
      .add("threads", threads, {0},
           "threads of each rank; 0: the processors it may use, divided among the ranks that share them")
      .choice(
          "pin-threads", pin, {{"yes", true}, {"no", false}},
          "each to a processor of its own among those the launcher gave the rank, if they suffice; OMP_PROC_BIND and "
          "OMP_PLACES go first");
}

void declare_precision(Options& options, network::Precision& precision) {
  options.choice("precision", precision, {{"fp32", network::Precision::fp32}, {"bf16", network::Precision::bf16}},
                 "of activations, their gradients and the factors of products; weights, sums, statistics, loss and "
                 "optimizer are always fp32");
}

LiveBackend::LiveBackend(const BackendOptions& options, communication::Communicator& communicator) {
  const int cpus = static_cast<int>(allowed_processors().size());
  if (options.kind == BackendKind::host && options.threads > cpus && communicator.rank() == 0)
    fmt::print(
        stderr,
        "warning: {} threads a rank will share {} processor{} (the launcher binds ranks to them). Use mpirun --map-by "
        "slot:PE={} or --bind-to none, or srun --cpus-per-task={}?\n",
        options.threads, cpus, cpus == 1 ? "" : "s", options.threads, options.threads);
  if (options.kind == BackendKind::host) {
    placement_ = place_this_rank(options.threads, options.pin, communicator);
    runtime_.emplace(placement_.threads, placement_.processors);
    backend_ = host::make_backend();
  } else {
    communication::collectively(communicator, "starting the GPU", [&] { backend_ = device::make_backend(); });
  }
}

}  // namespace brigade::cli
