/// Inverted dropout: each element is kept with probability 1 - rate and scaled by 1 / (1 - rate).
/// Srivastava et al., "Dropout", JMLR 15 (2014).
#pragma once

#include "brigade/core/random.hpp"
#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct Dropout {
  float rate = 0.5F;  ///< share of elements set to zero, in [0, 1)

  Shape output_shape(const Shape& x) const { return x; }

  /// The mask is a function of the element's place in the *global* batch, so it depends neither on
  /// the number of ranks nor on the division into micro-batches: element e of sample n of x is
  /// dropped where to_uniform(random_u32(key, (first_sample + n) * sample_size + e)) < rate.
  struct Mask {
    RandomKey key;                  ///< purpose dropout, stream = layer, position = step
    std::int64_t first_sample = 0;  ///< index of x's first sample in the global batch
  };
  /// Forward (x -> y) and backward (dy -> dx) are the same product with the mask.
  struct Apply {
    ConstTensorView x;
    TensorView y;  ///< may be x
    Mask mask;
  };
};

}  // namespace brigade::ops
