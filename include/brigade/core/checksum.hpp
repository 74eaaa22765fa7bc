/// CRC-32C (Castagnoli), the checksum of shards, checkpoints and TensorBoard records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace brigade {

/// CRC-32C of `bytes`, continuing from the checksum `seed` of what came before (0 at the start).
/// Uses the processor's instruction where there is one; crc32c("123456789") = 0xE3069283. Meanwhile `next`, if it is
/// known what will be read next, is brought nearer (prefetch.hpp).
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0, std::span<const std::byte> next = {});

/// Copies `bytes` to `to`, as many and elsewhere, and returns their crc32c(): they come from memory only once.
std::uint32_t copy_and_crc32c(std::span<std::byte> to, std::span<const std::byte> bytes, std::uint32_t seed = 0,
                              std::span<const std::byte> next = {});

}  // namespace brigade
