#pragma once

#include "oracle/array.hpp"

namespace brigade::oracle {

Array relu(const Array& x);
Array relu_backward(const Array& y, const Array& dy);

}  // namespace brigade::oracle
