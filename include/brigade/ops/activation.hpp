/// The activation an operation may apply to its own output before storing it.
#pragma once

#include <cstdint>

namespace brigade::ops {

enum class Activation : std::uint8_t { none, relu };

}  // namespace brigade::ops
