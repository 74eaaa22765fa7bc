// Threads for the samples of a piece.
#pragma once

#include <cstdint>
#include <functional>

namespace brigade::dataset {

// Calls work(i) once for each i in [0, count), on `threads` threads (the caller is one of them), in any order.
// Rethrows the first exception, after all threads have stopped.
void for_each_in_parallel(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work);

}  // namespace brigade::dataset
