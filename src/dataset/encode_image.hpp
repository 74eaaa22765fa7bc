// RGB or grey pixels to JPEG and PNG.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "brigade/dataset/manifest.hpp"

namespace brigade::dataset {

// Replace `file`. `pixels` [h, w, c]; quality 1 to 100.
void encode_jpeg(std::span<const std::uint8_t> pixels, const ImageShape& shape, int quality,
                 std::vector<std::uint8_t>& file);
// Loses nothing.
void encode_png(std::span<const std::uint8_t> pixels, const ImageShape& shape, std::vector<std::uint8_t>& file);

}  // namespace brigade::dataset
