// Sums that are cut into slices, each with a partial result of its own.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ceil_div.hpp"
#include "parallel.hpp"

namespace brigade::host {

// sum[i] += partial[slice][i], slice by slice: `size` floats, and the same bits for any number of threads.
inline void add_slices(float* sum, const float* partial, std::int64_t slices, std::int64_t size) {
  constexpr std::int64_t kRun = 2048;
  if (slices == 0) return;
  for_each_part(ceil_div(size, kRun), [&](std::int64_t part) {
    const std::int64_t begin = part * kRun, end = std::min(size, begin + kRun);
    for (std::int64_t slice = 0; slice < slices; ++slice) {
      const float* from = partial + slice * size;
      for (std::int64_t i = begin; i < end; ++i) sum[i] += from[i];
    }
  });
}

}  // namespace brigade::host
