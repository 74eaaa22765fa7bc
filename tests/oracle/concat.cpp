#include "oracle/concat.hpp"

namespace brigade::oracle {

Array concat(std::span<const Array> x) {
  Shape shape = x.front().shape;
  std::int64_t channels = 0;
  for (const Array& part : x) channels += part.shape.back();
  shape[shape.rank() - 1] = channels;
  Array y(shape);
  for (std::int64_t row = 0; row < y.size() / channels; ++row) {
    std::int64_t at = row * channels;
    for (const Array& part : x)
      for (std::int64_t c = 0; c < part.shape.back(); ++c) y[at++] = part[row * part.shape.back() + c];
  }
  return y;
}

Array slice(const Array& y, std::int64_t first, std::int64_t channels) {
  Shape shape = y.shape;
  shape[shape.rank() - 1] = channels;
  Array x(shape);
  for (std::int64_t i = 0; i < x.size(); ++i) x[i] = y[i / channels * y.shape.back() + first + i % channels];
  return x;
}

}  // namespace brigade::oracle
