/// bfloat16: the upper half of a float, with its range and 8 bits of significand.
///
/// Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322. A type to keep numbers in:
/// arithmetic is done in float.
#pragma once

#include <bit>
#include <cstdint>

#include "brigade/core/tensor.hpp"

namespace brigade {

struct Bf16 {
  std::uint16_t bits;

  Bf16() = default;
  /// Rounds to the nearest, ties to even; what is too large becomes infinite, NaN stays NaN.
  explicit constexpr Bf16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = value != value ? word | 0x400000U : word + 0x7FFFU + ((word >> 16) & 1U);
    bits = static_cast<std::uint16_t>(rounded >> 16);
  }
  explicit constexpr operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
};

template <>
constexpr DType dtype_of<Bf16>() {
  return DType::bf16;
}

}  // namespace brigade
