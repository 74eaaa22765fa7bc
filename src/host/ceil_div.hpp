// Into how many pieces work is cut.
#pragma once

#include <cstdint>

namespace brigade::host {

// Pieces of size b that hold a, the last one perhaps not full; a >= 0, b > 0.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace brigade::host
