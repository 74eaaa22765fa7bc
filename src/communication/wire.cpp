#include "wire.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "brigade/core/bf16.hpp"
#include "brigade/core/fp16.hpp"

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace brigade::communication {
namespace {

constexpr std::size_t kHeader = sizeof(float);  // of a message in fp16: its scale

// 2^14 / (the largest power of two in the largest number as fp16 will round it), so that packing what was packed finds
// the same scale. Kept away from where it or its inverse would be infinite.
float scale_for(const float* from, std::size_t floats) {
  constexpr std::uint32_t kInfinite = 0x7F800000U;
  std::uint32_t largest = 0;  // absolute values compare as their bits do
  for (std::size_t i = 0; i < floats; ++i) {
    const std::uint32_t size = std::bit_cast<std::uint32_t>(from[i]) & 0x7FFFFFFFU;
    largest = std::max(largest, size < kInfinite ? size : 0);
  }
  const std::uint32_t rounded = largest + 0xFFFU + ((largest >> 13) & 1U);
  const int exponent = static_cast<int>(rounded >> 23) - 127;
  const int of_scale = std::clamp(14 - exponent, -120, 120);
  return std::bit_cast<float>(static_cast<std::uint32_t>(of_scale + 127) << 23);
}

void to_fp16(const float* from, std::size_t floats, float scale, Fp16* to) {
  std::size_t i = 0;
#ifdef __F16C__
  const __m256 factor = _mm256_set1_ps(scale);
  for (; i + 8 <= floats; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_mul_ps(_mm256_loadu_ps(from + i), factor), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < floats; ++i) to[i] = Fp16(from[i] * scale);
}

// then(i, value) for each element; `block` holds those that are widened at once.
template <class Then>
void from_fp16(const Fp16* from, std::size_t floats, float scale, Then&& then) {
  const float factor = 1 / scale;
  constexpr std::size_t kBlock = 256;
  float block[kBlock];
  for (std::size_t begin = 0; begin < floats; begin += kBlock) {
    const std::size_t count = std::min(kBlock, floats - begin);
    std::size_t i = 0;
#ifdef __F16C__
    for (; i + 8 <= count; i += 8)
      _mm256_storeu_ps(block + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + begin + i))));
#endif
    for (; i < count; ++i) block[i] = static_cast<float>(from[begin + i]);
    for (i = 0; i < count; ++i) then(begin + i, block[i] * factor);
  }
}

template <class Then>
void for_each_unpacked(Wire wire, const std::byte* message, std::size_t floats, Then&& then) {
  if (wire == Wire::fp16) {
    float scale = 1;
    std::memcpy(&scale, message, kHeader);
    from_fp16(reinterpret_cast<const Fp16*>(message + kHeader), floats, scale, then);
  } else {
    const auto* from = reinterpret_cast<const Bf16*>(message);
    for (std::size_t i = 0; i < floats; ++i) then(i, static_cast<float>(from[i]));
  }
}

}  // namespace

std::size_t packed_bytes(Wire wire, std::size_t floats) {
  if (wire == Wire::fp32) return floats * sizeof(float);
  return floats * sizeof(std::uint16_t) + (wire == Wire::fp16 ? kHeader : 0);
}

std::size_t floats_in(Wire wire, std::size_t bytes) {
  const std::size_t header = packed_bytes(wire, 0), each = packed_bytes(wire, 1) - header;
  return bytes <= header ? 1 : std::max<std::size_t>(1, (bytes - header) / each);
}

void pack(Wire wire, const float* __restrict from, std::size_t floats, std::byte* __restrict message) {
  if (wire == Wire::fp16) {
    const float scale = scale_for(from, floats);
    std::memcpy(message, &scale, kHeader);
    to_fp16(from, floats, scale, reinterpret_cast<Fp16*>(message + kHeader));
  } else {
    auto* to = reinterpret_cast<Bf16*>(message);
    for (std::size_t i = 0; i < floats; ++i) to[i] = Bf16(from[i]);
  }
}

void unpack(Wire wire, const std::byte* __restrict message, std::size_t floats, float* __restrict to) {
  for_each_unpacked(wire, message, floats, [to](std::size_t i, float value) { to[i] = value; });
}

void add_unpacked(Wire wire, const std::byte* __restrict message, std::size_t floats, float* __restrict to) {
  if (wire == Wire::fp32) {
    const auto* __restrict from = reinterpret_cast<const float*>(message);
    for (std::size_t i = 0; i < floats; ++i) to[i] += from[i];
  } else {
    for_each_unpacked(wire, message, floats, [to](std::size_t i, float value) { to[i] += value; });
  }
}

}  // namespace brigade::communication
