#pragma once

#include "brigade/ops/optimizer.hpp"
#include "oracle/array.hpp"

namespace brigade::oracle {

void update(const ops::Blend& op, const Array& x, Array& y);
void update(const ops::Sgd& op, const Array& gradient, Array& weights, Array& velocity);
void update(const ops::Adam& op, const Array& gradient, Array& weights, Array& first_moment, Array& second_moment);

}  // namespace brigade::oracle
