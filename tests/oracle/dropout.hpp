#pragma once

#include "brigade/ops/dropout.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

Array dropout(const ops::Dropout& op, const Array& x, const ops::Dropout::Mask& mask);

}  // namespace brigade::oracle
