/// The activation an operation may apply to its own output before storing it.
#pragma once

#include <cstdint>

namespace brigade::ops {

/// none    y = x
/// relu    y = max(x, 0); the gradient passes where y > 0
/// relu6   y = min(max(x, 0), 6); the gradient passes where 0 < y < 6 (Howard et al., "MobileNets", 2017)
///
/// NaN stays NaN, so that a network that diverged does not look healthy.
enum class Activation : std::uint8_t { none, relu, relu6 };

}  // namespace brigade::ops
