// What floats are while they travel (Wire, in allreduce.hpp). A packed message:
//
//     fp32    [ element 0 | element 1 | ... ], which needs no packing
//     bf16    [ element 0 | element 1 | ... ]
//     fp16    [ scale, a float | element 0 | element 1 | ... ]
//
// In fp16 the elements are the floats times a power of two that brings the largest of the message to 2^14 ... 2^15:
// none becomes infinite that was finite, and small gradients, most of which lie below fp16's range, keep their 11 bits
// as far as 2^-28 of the largest (below, fewer; half of 2^-38 of it is lost). Micikevicius et al., "Mixed Precision
// Training", ICLR 2018, section 3.2, scale the loss for the same reason; here each message has a scale of its own, and
// it is undone before anything is added. A message in which a float is infinite or NaN arrives with it.
//
// What has been packed and unpacked once is left unchanged by the next time.
#pragma once

#include <cstddef>

#include "brigade/communication/allreduce.hpp"

namespace brigade::communication {

/// Bytes of a message of `floats` floats.
std::size_t packed_bytes(Wire wire, std::size_t floats);
/// How many floats fit into a message of `bytes` bytes; at least one.
std::size_t floats_in(Wire wire, std::size_t bytes);

void pack(Wire wire, const float* from, std::size_t floats, std::byte* message);
void unpack(Wire wire, const std::byte* message, std::size_t floats, float* to);
/// to[i] += what travelled.
void add_unpacked(Wire wire, const std::byte* message, std::size_t floats, float* to);

}  // namespace brigade::communication
