/// Time in seconds.
#pragma once

namespace brigade {

/// Monotonic seconds since an arbitrary start; for durations.
double now_s();

/// Seconds since the Unix epoch; for timestamps in files.
double wall_clock_s();

/// Wall-clock time at which this process was started by the kernel (Unix seconds, 10 ms resolution).
double process_start_s();

/// Measures laps: each lap() returns the seconds since the last one (or since construction).
class Stopwatch {
 public:
  double lap() {
    const double now = now_s();
    const double seconds = now - last_;
    last_ = now;
    return seconds;
  }
  double elapsed() const { return now_s() - last_; }

 private:
  double last_ = now_s();
};

}  // namespace brigade
