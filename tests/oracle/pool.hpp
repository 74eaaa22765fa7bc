#pragma once

#include "brigade/ops/pool.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

/// winner, if wanted: ky * kernel_w + kx of the maximum.
Array max_pool(const ops::PoolWindow& op, const Array& x, Array* winner = nullptr);
Array max_pool_backward(const ops::PoolWindow& op, const Array& x, const Array& dy);
Array average_pool(const ops::AveragePool& op, const Array& x);
Array average_pool_backward(const ops::AveragePool& op, const Shape& x, const Array& dy);

}  // namespace brigade::oracle
