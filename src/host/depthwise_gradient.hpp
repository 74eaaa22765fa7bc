// The gradients of a depthwise convolution by x, by w and by the normalisation of x, in one sweep over dy.
#pragma once

#include "brigade/ops/depthwise_conv2d.hpp"
#include "host_backend.hpp"

namespace brigade::host {

// Writes those of dx, dw, dgamma and dbeta that are not empty. dy has been masked.
void depthwise_gradients(HostBackend& backend, const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& t);

}  // namespace brigade::host
