// New columns for the rows of a picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace brigade::dataset {

// Where two neighbours along an axis lie, and how much of the second is taken.
struct Tap {
  std::int32_t first;
  float second_share;
};
// At `place`, in pixels from the centre of the first, of `extent`; beyond the border lie the pixels of the border.
Tap tap(double place, std::int64_t extent);

// Each new column lies between two neighbouring columns of a row. Rows are [width, channels] in grey levels.
class NewColumns {
 public:
  static constexpr std::size_t kSlack = 48;  // floats behind a row, old or new, that may be read or written

  NewColumns(std::int64_t count, std::int64_t channels);
  // Column x lies at place step * x + from of an old picture of `extent` columns; rows will begin with its column
  // `left`.
  void aim(double step, double from, std::int64_t extent, std::int64_t left);
  void operator()(const float* row, float* out) const;

 private:
  bool plan_lanes();

  std::int64_t channels_;
  std::vector<Tap> taps_;  // of each new column, in values from the beginning of the row
  // In lanes: those of group g pick from the values that begin at begin_[g].
  bool in_lanes_ = false;
  std::vector<std::int32_t> begin_;
  std::vector<std::int32_t> which_;
  std::vector<float> share_;
};

}  // namespace brigade::dataset
