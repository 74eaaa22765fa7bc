#pragma once

#include "brigade/ops/add.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

Array add(const ops::Add& op, const Array& a, const Array& b);

struct AddGradients {
  Array da, db;
};
AddGradients add_backward(const ops::Add& op, const Array& y, const Array& dy);

}  // namespace brigade::oracle
