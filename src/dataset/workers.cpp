// Threads live as long as a piece of some megabytes, whose decoding takes far longer than starting them.
#include "workers.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "brigade/core/processors.hpp"

namespace brigade::dataset {

void for_each_in_parallel(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work) {
  std::atomic<std::int64_t> next = 0;
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;  // the others finish what they have begun
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::int64_t i = 1; i < std::min<std::int64_t>(threads, count); ++i)
      helpers.emplace_back([&run] {
        unpin_this_thread();
        run();
      });
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace brigade::dataset
