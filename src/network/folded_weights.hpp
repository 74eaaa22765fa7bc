// Kernel and bias of a product that a batch norm became part of (fold_batch_norm.cpp has the formula).
#pragma once

#include "brigade/ops/backend.hpp"

namespace brigade::network {

struct FoldedWeights {
  ConstTensorView kernel;          // [..., channels]
  ConstTensorView bias;            // [channels]; empty: 0
  ConstTensorView gamma;           // [channels]; empty: 1
  ConstTensorView beta;            // [channels]
  ConstTensorView mean, variance;  // [channels], running
  float epsilon = 0;
  TensorView folded_kernel, folded_bias;  // written
};

// By way of the host: it happens once after the weights have changed.
void fold_weights(ops::Backend& backend, const FoldedWeights& w);

}  // namespace brigade::network
