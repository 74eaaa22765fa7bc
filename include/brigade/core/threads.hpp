/// The threads of a rank's kernels, lent to rooms that have none of their own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

namespace brigade {

/// The base class is the calling thread alone; host::kernel_threads() are those of the kernels.
class Threads {
 public:
  virtual ~Threads() = default;
  virtual int count() const { return 1; }
  /// work(t) for each t in [0, count()), all at the same time; returns when all have. Not from within itself.
  virtual void each(const std::function<void(int)>& work) { work(0); }
};

/// The calling thread.
Threads& calling_thread();

/// work(first, last) over [begin, end), cut into one range a thread, but none shorter than `least`: where there is
/// little to do, waking threads takes longer. Ranges begin at multiples of `least` from `begin`, so that for a `least`
/// of whole cache lines no two threads write one.
template <class Work>
void in_ranges(Threads& threads, std::size_t begin, std::size_t end, std::size_t least, const Work& work) {
  const std::size_t pieces = (end - begin) / least;
  const std::size_t ranges = std::min(pieces, static_cast<std::size_t>(threads.count()));
  if (ranges <= 1) {
    if (begin < end) work(begin, end);
    return;
  }
  const auto border = [&](std::size_t t) { return t == ranges ? end : begin + pieces * t / ranges * least; };
  threads.each([&](int thread) {
    const auto t = static_cast<std::size_t>(thread);
    if (t < ranges) work(border(t), border(t + 1));
  });
}

}  // namespace brigade
