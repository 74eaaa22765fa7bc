#pragma once

#include "brigade/ops/local_response_norm.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

Array forward(const ops::LocalResponseNorm& op, const Array& x);
/// dx by the chain rule over every pair of channels.
Array backward(const ops::LocalResponseNorm& op, const Array& x, const Array& dy);

}  // namespace brigade::oracle
