// Antialiased resizing.
#pragma once

#include "decode_image.hpp"

namespace brigade::dataset {

// Scales to height x width with a triangle filter that widens with the reduction, so that no pixel is skipped: the
// same bytes as Pillow's Image.resize(..., Image.BILINEAR).
RgbImage resize(const RgbImage& image, std::int64_t height, std::int64_t width);

}  // namespace brigade::dataset
