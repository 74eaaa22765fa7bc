// How kernels use the threads of a rank.
#pragma once

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstdint>

namespace brigade::host {

using Space = Kokkos::DefaultHostExecutionSpace;

inline int threads() { return Space::concurrency(); }

// work(i) for i in [begin, end). Not inlined: that would compile `work` once for one thread and once for many, and the
// compiler could fuse the sum of two products with another one of them in each, which gives other bits.
template <class Work>
[[gnu::noinline]] void do_parts(std::int64_t begin, std::int64_t end, const Work& work) {
  for (std::int64_t i = begin; i < end; ++i) work(i);
}

// Calls work(i) for i in [0, n), in equal contiguous shares per thread. Kernels split work by shape, never by
// the number of threads, and write disjoint results per i, so that any number of threads gives the same bits.
template <class Work>
void for_each_part(std::int64_t n, const Work& work) {
  const std::int64_t shares = std::min<std::int64_t>(n, threads());
  if (shares <= 1) return do_parts(0, n, work);
  using Policy = Kokkos::RangePolicy<Space, Kokkos::IndexType<std::int64_t>, Kokkos::Schedule<Kokkos::Static>>;
  Kokkos::parallel_for("brigade", Policy(0, shares),
                       [=, &work](std::int64_t t) { do_parts(n * t / shares, n * (t + 1) / shares, work); });
}

}  // namespace brigade::host
