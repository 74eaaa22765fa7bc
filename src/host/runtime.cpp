#include <unistd.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "brigade/core/processors.hpp"
#include "brigade/host/backend.hpp"
#include "host_backend.hpp"
#include "parallel.hpp"
#include "vector.hpp"

namespace brigade::host {
namespace {

// Each thread of the kernels to its processor, the calling one, too: left free, it lands on the processor of another
// whenever that one wakes it, and kernels of microseconds wait for each other until the system moves one away.
void pin_threads(std::span<const int> processors) {
  for_each_part(static_cast<std::int64_t>(processors.size()),
                [&](std::int64_t thread) { pin_this_thread(processors[static_cast<std::size_t>(thread)]); });
}

}  // namespace

void Runtime::prepare_process(char** argv) {
  if (getenv("GOMP_SPINCOUNT") != nullptr || getenv("OMP_WAIT_POLICY") != nullptr) return;
  // By default GNU's threads spin for milliseconds at the end of a kernel. Where other programs want the cores, too,
  // they then spin while the thread they wait for is not running, and kernels get a hundred times slower. These
  // spins last some ten microseconds, longer than it takes until the next kernel starts.
  setenv("GOMP_SPINCOUNT", "1000", 1);
  // Two ranks whose OpenMP bound their threads could meet on the same cores; who knows all ranks hands Runtime the
  // processors.
  if (getenv("OMP_PLACES") == nullptr && getenv("GOMP_CPU_AFFINITY") == nullptr) setenv("OMP_PROC_BIND", "false", 0);
  execv("/proc/self/exe", argv);  // returns only if it fails; then the defaults stay
}

Runtime::Runtime(int threads, std::span<const int> processors) {
  if (threads == 0) threads = static_cast<int>(allowed_processors().size());
  // Kokkos reads its settings from the environment in every version from 3.4 to 5; its argument
  // struct was renamed in between.
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
  setenv("KOKKOS_NUM_THREADS", std::to_string(threads).c_str(), 1);
  setenv("KOKKOS_DISABLE_WARNINGS", "1", 0);
  Kokkos::initialize();
  if (processors.size() == static_cast<std::size_t>(threads)) pin_threads(processors);
}

Runtime::~Runtime() { Kokkos::finalize(); }

std::unique_ptr<ops::Backend> make_backend() {
  EXPECT(Kokkos::is_initialized());
  return std::make_unique<HostBackend>();
}

std::string HostBackend::description() const {
  return fmt::format("host (Kokkos {}.{} {}, {} thread{}, {}-bit vectors)", KOKKOS_VERSION / 10000,
                     KOKKOS_VERSION / 100 % 100, Space::name(), threads(), threads() == 1 ? "" : "s", 32 * kLanes);
}

int HostBackend::threads() const { return host::threads(); }
void HostBackend::upload(const void* host, void* backend, std::size_t bytes) {
  if (bytes > 0) std::memcpy(backend, host, bytes);  // null is no place to copy from, not even nothing
}
void HostBackend::download(const void* backend, void* host, std::size_t bytes) {
  if (bytes > 0) std::memcpy(host, backend, bytes);
}

void* HostBackend::scratch_bytes(Scratch purpose, std::size_t bytes) {
  Buffer& buffer = scratch_[static_cast<std::size_t>(purpose)];
  if (buffer.bytes() < bytes) {
    buffer = Buffer();  // first give back, then ask
    buffer = Buffer(host_memory(), bytes);
  }
  return buffer.data();
}

}  // namespace brigade::host
