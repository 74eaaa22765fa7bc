#include "oracle/dropout.hpp"

namespace brigade::oracle {

Array dropout(const ops::Dropout& op, const Array& x, const ops::Dropout::Mask& mask) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::int64_t index = mask.first_sample * x.shape.sample_size() + i;
    const bool dropped = to_uniform(random_u32(mask.key, static_cast<std::uint64_t>(index))) < op.rate;
    y[i] = dropped ? 0 : x[i] / (1 - static_cast<double>(op.rate));
  }
  return y;
}

}  // namespace brigade::oracle
