// The weights of a forward product (convolution, dense layer) as the kernels read them.
//
// Where many rows are multiplied, packing is a small part of the product, and where the kernels can read few weights as
// they stand it is saved. With few rows neither holds for the others: a batch of one reads every weight a few dozen
// times, and packing reads and writes all of them once more. So weights that stay the same (evaluation) are packed
// once.
#pragma once

#include "brigade/ops/kept_weights.hpp"
#include "host_backend.hpp"
#include "panels.hpp"

namespace brigade::host {

struct ForwardWeights {
  Factors factors = Factors::floats;
  const float* w = nullptr;  // [taps][pixels][channels][columns]
  std::int64_t taps = 1;
  std::int64_t pixels = 1;  // of a tap; in pairs, each ends with a whole one
  std::int64_t channels = 0, columns = 0;
  std::int64_t rows = 0;             // of the product
  ops::KeptWeights* kept = nullptr;  // null: w may be another in the next call
};

// As they stand, packed into scratch memory, or packed into what is kept: each gives sums of the same bits.
Weights weights_for_kernels(HostBackend& backend, const ForwardWeights& weights);

}  // namespace brigade::host
