// How kernels use the threads of a rank.
#pragma once

#include <Kokkos_Core.hpp>
#include <cstdint>

namespace brigade::host {

using Space = Kokkos::DefaultHostExecutionSpace;

inline int threads() { return Space::concurrency(); }

// Calls work(i) for i in [0, n), in equal contiguous shares per thread. Kernels split work by shape, never by
// the number of threads, and write disjoint results per i, so that any number of threads gives the same bits.
template <class Work>
void for_each_part(std::int64_t n, const Work& work) {
  if (n == 1 || threads() == 1) {
    for (std::int64_t i = 0; i < n; ++i) work(i);
    return;
  }
  using Policy = Kokkos::RangePolicy<Space, Kokkos::IndexType<std::int64_t>, Kokkos::Schedule<Kokkos::Static>>;
  Kokkos::parallel_for("brigade", Policy(0, n), work);
}

}  // namespace brigade::host
