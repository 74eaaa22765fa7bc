// The kernels' threads for other rooms: a plain share of work each, whatever its result depends on.
#include <cstdint>

#include "brigade/host/backend.hpp"
#include "parallel.hpp"

namespace brigade::host {
namespace {

class KernelThreads final : public Threads {
 public:
  int count() const override { return threads(); }
  void each(const std::function<void(int)>& work) override {
    for_each_part(threads(), [&](std::int64_t thread) { work(static_cast<int>(thread)); });
  }
};

}  // namespace

Threads& kernel_threads() {
  EXPECT(Kokkos::is_initialized());
  static KernelThreads all;
  return all;
}

}  // namespace brigade::host
