// Antialiased resizing.
#pragma once

#include "brigade/dataset/manifest.hpp"
#include "decode_image.hpp"

namespace brigade::dataset {

// Scales to height x width with a triangle filter that widens with the reduction, so that no pixel is skipped: the
// same bytes as Pillow's Image.resize(..., Image.BILINEAR).
RgbImage resize(const RgbImage& image, std::int64_t height, std::int64_t width);

// Brings an image to height x width as `how` says.
RgbImage fit(const RgbImage& image, std::int64_t height, std::int64_t width, Resize how);

// Decodes an image file straight to `shape`: pixels [h, w, c]; one channel takes the red one of what should be grey.
// A JPEG is decoded at a fraction of its size if it is much larger: half of the reduction is left to the filter.
void decode_to_shape(std::span<const std::byte> file, const ImageShape& shape, Resize how, std::uint8_t* pixels);

}  // namespace brigade::dataset
