// Convolutions of several groups: each group is a convolution of its own on slices of the channels.
#pragma once

#include "host_backend.hpp"

namespace brigade::host {

void forward_by_groups(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Forward& a);
void backward_by_groups(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Backward& a);

}  // namespace brigade::host
