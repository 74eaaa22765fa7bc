// Activations by their definition.
#pragma once

#include "brigade/ops/activation.hpp"

namespace brigade::oracle {

inline double activate(ops::Activation activation, double x) {
  if (activation != ops::Activation::none) x = x < 0 ? 0 : x;
  return activation == ops::Activation::relu6 && x > 6 ? 6 : x;
}

/// The derivative, from the output y.
inline double slope(ops::Activation activation, double y) {
  if (activation == ops::Activation::none) return 1;
  if (activation == ops::Activation::relu6 && y >= 6) return 0;
  return y > 0 ? 1 : 0;
}

}  // namespace brigade::oracle
