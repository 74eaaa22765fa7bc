#pragma once

#include "brigade/ops/relu.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

Array relu(const ops::Relu& op, const Array& x);
Array relu_backward(const ops::Relu& op, const Array& y, const Array& dy);

}  // namespace brigade::oracle
