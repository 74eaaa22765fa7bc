/// Micro-batches, computed at the same time by different members, whose batch norms see one another's values:
/// synchronised batch norm (Peng et al., "MegDet", CVPR 2018, section 3.2). Each member hands in what it found in its
/// own micro-batch and gets what the group found, forward and backward; all members do so in the same order, with
/// micro-batches of the same size. What it costs is two waits a batch norm and step.
///
/// The passes of a graph stay on: whoever measures a tensor, a convolution that stores it or a batch norm, shares what
/// it measured before anybody normalises by it.
#pragma once

#include <cstdint>
#include <span>

namespace brigade::network {

class BatchNormGroup {
 public:
  virtual ~BatchNormGroup() = default;
  virtual std::int64_t members() const = 0;
  /// [C] each, host memory: mean and variance (over the count) of this member's values become those of the group's.
  virtual void merge_moments(std::span<float> mean, std::span<float> variance) = 0;
  /// [C] each, host memory: sums over this member's values become the mean of the members' sums.
  virtual void average_gradients(std::span<float> dgamma, std::span<float> dbeta) = 0;
};

}  // namespace brigade::network
