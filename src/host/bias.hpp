// The bias of convolution and dense layers, forward and backward; backward's pass also masks dy.
#pragma once

#include "brigade/core/tensor.hpp"
#include "brigade/ops/activation.hpp"
#include "host_backend.hpp"

namespace brigade::host {

// The bias, padded with zeros to whole registers; null if it is empty.
const float* pad_bias(HostBackend& backend, const ConstTensorView& bias);

// In one pass over dy: masks it where the activation was off, in place, and writes the sums over all rows
// to dbias, unless that is empty. The sums are cut by rows into partial sums, whose number depends on the shape only.
void mask_and_sum(HostBackend& backend, ops::Activation activation, const ConstTensorView& y, const TensorView& dy,
                  const TensorView& dbias);

}  // namespace brigade::host
