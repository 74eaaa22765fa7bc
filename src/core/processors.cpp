#include "brigade/core/processors.hpp"

#include <sched.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <thread>

namespace brigade {
namespace {

std::vector<int> processors_of_this_thread() {
  std::vector<int> processors;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) processors.push_back(i);
  if (processors.empty()) {
    processors.resize(std::max(1U, std::thread::hardware_concurrency()));
    std::iota(processors.begin(), processors.end(), 0);
  }
  return processors;
}

void keep_this_thread_on(std::span<const int> processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int processor : processors) CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

}  // namespace

const std::vector<int>& allowed_processors() {
  static const std::vector<int> processors = processors_of_this_thread();
  return processors;
}

void pin_this_thread(int processor) { keep_this_thread_on({&processor, 1}); }
void unpin_this_thread() { keep_this_thread_on(allowed_processors()); }

}  // namespace brigade
