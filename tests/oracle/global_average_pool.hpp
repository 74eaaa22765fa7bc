#pragma once

#include "oracle/array.hpp"

namespace brigade::oracle {

Array global_average_pool(const Array& x);
/// x_shape is that of the input.
Array global_average_pool_backward(const Shape& x_shape, const Array& dy);

}  // namespace brigade::oracle
