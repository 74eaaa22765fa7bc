/// A live line on a terminal, at most 79 columns wide; on a file or pipe, a plain line every few seconds.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace brigade::telemetry {

class ProgressLine {
 public:
  ProgressLine() = default;  ///< silent (all ranks but one)
  /// e.g. {"epoch 1/3", "images"}: `epoch 1/3 [#####.....] 31,232/60,000 images, 5,312 images/s, 5 s left, loss 0.41`
  /// on a terminal (the bar shrinks if the line gets too long), `epoch 1/3: 31,232/60,000 images, ...` elsewhere.
  /// `out` null: silent, too.
  ProgressLine(std::string title, std::string unit, std::int64_t total, std::FILE* out = stderr);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Cheap: draws at most ten times a second on a terminal, every 10 s elsewhere.
  void update(std::int64_t done, std::string_view note = {});
  /// Draws the last state and the time it took, and ends the line; later calls do nothing.
  void finish(std::string_view note = {});

 private:
  void draw(std::int64_t done, std::string_view note, bool last);

  std::string title_, unit_;
  std::int64_t total_ = 0, done_ = 0;
  std::FILE* out_ = nullptr;
  bool terminal_ = false, open_ = false;
  double start_s_ = 0, drawn_s_ = 0;
};

}  // namespace brigade::telemetry
