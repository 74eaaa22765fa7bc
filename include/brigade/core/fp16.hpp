/// IEEE 754 binary16: 11 bits of significand, for absolute values from 2^-14 to 65504 (below, fewer bits, down to
/// 2^-24).
///
/// A type to keep numbers in: arithmetic is done in float.
#pragma once

#include <bit>
#include <cstdint>

namespace brigade {

struct Fp16 {
  std::uint16_t bits;

  Fp16() = default;
  /// Rounds to the nearest, ties to even; from 65520 on it becomes infinite, NaN stays NaN.
  explicit constexpr Fp16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t size = word & 0x7FFFFFFFU, sign = word >> 31 << 15;
    constexpr std::uint32_t kInfinite = 0x7F800000U, kTooLarge = 0x477FF000U, kLeastNormal = 0x38800000U;
    constexpr std::uint32_t kHalf = 0x3F000000U;  // 0.5: a unit of it is 2^-24, the least of binary16
    std::uint32_t half = 0;
    if (size > kInfinite)
      half = 0x7E00U;
    else if (size >= kTooLarge)
      half = 0x7C00U;
    else if (size < kLeastNormal)
      half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) + 0.5F) - kHalf;
    else
      half = (size + 0xFFFU + ((size >> 13) & 1U) - (112U << 23)) >> 13;
    bits = static_cast<std::uint16_t>(half | sign);
  }
  explicit constexpr operator float() const {
    const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31, size = bits & 0x7FFFU;
    if (size >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (size & 0x3FFU) << 13);
    // The exponent is 112 too small so far, and small numbers are subnormal floats: the product is exact for both.
    return std::bit_cast<float>(sign | size << 13) * 0x1p112F;
  }
};

}  // namespace brigade
