// Activations on registers, and the step from a value of ops::Activation to code compiled for it.
#pragma once

#include <type_traits>

#include "brigade/ops/activation.hpp"
#include "lanes.hpp"

namespace brigade::host {

inline constexpr float kRelu6Max = 6;

// Lets NaN through.
inline Vec at_most(Vec x, Vec limit) { return min(limit, x); }

template <ops::Activation kBy>
inline Vec activate(Vec x) {
  if constexpr (kBy == ops::Activation::none) return x;
  if constexpr (kBy == ops::Activation::relu) return relu(x);
  if constexpr (kBy == ops::Activation::relu6) return at_most(relu(x), broadcast(kRelu6Max));
}

// dy where the activation let y (or what it was computed from) through, else 0.
template <ops::Activation kBy>
inline Vec masked(Vec dy, Vec y) {
  if constexpr (kBy == ops::Activation::none) return dy;
  if constexpr (kBy == ops::Activation::relu) return where(y > 0.0F, dy);
  if constexpr (kBy == ops::Activation::relu6) return where((y > 0.0F) & (y < kRelu6Max), dy);
}

template <ops::Activation kBy>
using ActivationIs = std::integral_constant<ops::Activation, kBy>;

// Calls body(ActivationIs<the activation>).
template <class Body>
decltype(auto) with_activation(ops::Activation activation, const Body& body) {
  switch (activation) {
    case ops::Activation::relu: return body(ActivationIs<ops::Activation::relu>());
    case ops::Activation::relu6: return body(ActivationIs<ops::Activation::relu6>());
    case ops::Activation::none: break;
  }
  return body(ActivationIs<ops::Activation::none>());
}

}  // namespace brigade::host
