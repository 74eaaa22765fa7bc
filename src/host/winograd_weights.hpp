// U = G w G' of a Winograd convolution, packed as the products read it: [panel][place][channel][its columns], which is
// the layout of packed weights (panels.hpp) with a tap for each place of the transformed tile.
#pragma once

#include "winograd.hpp"

namespace brigade::host {

// Floats of U for the panels [first, end).
std::int64_t winograd_weights_size(const WinogradFilter& f, std::int64_t first, std::int64_t end);

// Writes it.
void transform_weights(const WinogradFilter& f, std::int64_t first, std::int64_t end, float* to);

}  // namespace brigade::host
