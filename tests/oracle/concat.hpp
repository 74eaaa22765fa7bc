#pragma once

#include <span>

#include "oracle/array.hpp"

namespace brigade::oracle {

Array concat(std::span<const Array> x);
/// Channels [first, first + channels) of a concatenation.
Array slice(const Array& y, std::int64_t first, std::int64_t channels);

}  // namespace brigade::oracle
