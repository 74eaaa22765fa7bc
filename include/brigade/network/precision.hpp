/// What a network's activations, their gradients, and the factors of its products are kept in.
#pragma once

#include <cstdint>
#include <string_view>

namespace brigade::network {

/// bf16: mixed precision as in Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3, without the
/// scaling of the loss, for bf16 has the range of float. Weights and their gradients, statistics of batch norms, the
/// scores, the loss and the optimizer stay in fp32, and so do all sums.
enum class Precision : std::uint8_t { fp32, bf16 };

constexpr std::string_view name_of(Precision precision) { return precision == Precision::bf16 ? "bf16" : "fp32"; }

}  // namespace brigade::network
