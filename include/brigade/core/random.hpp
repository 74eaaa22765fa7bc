/// Counter-based random numbers: Philox4x32-10.
///
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
/// A draw is a pure function of (key, counter): no state, so the rank count, the thread count and a
/// resume never change it.
#pragma once

#include <array>
#include <cstdint>

namespace brigade {

/// What a stream of random numbers is for; streams of different purposes never overlap.
enum class Purpose : std::uint32_t {
  initial_weights = 1,
  sample_order = 2,
  dropout = 3,
  augmentation = 4,
  ingest_order = 5,
  split = 6,
  synthetic_data = 7,
};

/// The key of a stream, and two words of the counter that name the position at large.
/// For `dropout`: stream = layer (index of the node), position = step of training.
struct RandomKey {
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::synthetic_data;
  std::uint32_t stream = 0;    ///< layer, tensor or epoch
  std::uint32_t position = 0;  ///< step or sample
};

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// The bare generator: ten rounds on a 128-bit counter with a 64-bit key.
constexpr PhiloxBlock philox4x32(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = 0xD2511F53ULL * counter[0];
    const std::uint64_t product1 = 0xCD9E8D57ULL * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// Four 32-bit draws number 4*block .. 4*block+3 of the stream.
/// Philox key = (seed low, seed high ^ purpose << 24);
/// counter = (block low, block high ^ purpose << 24, stream, position).
constexpr PhiloxBlock random_block(const RandomKey& key, std::uint64_t block) {
  const auto purpose = static_cast<std::uint32_t>(key.purpose) << 24;
  return philox4x32(
      {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32) ^ purpose, key.stream, key.position},
      {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32) ^ purpose});
}

/// Draw number `index` of the stream.
constexpr std::uint32_t random_u32(const RandomKey& key, std::uint64_t index) {
  return random_block(key, index / 4)[index % 4];
}

/// Uniform in [0, 1) with 24 random bits: exactly representable, the same on every machine.
constexpr float to_uniform(std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24F; }

}  // namespace brigade
