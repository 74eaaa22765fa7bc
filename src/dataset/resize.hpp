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

// Decodes an image file and brings it to `shape`; of one channel, the red one of what should be grey. The view shows
// `region` at least, and is valid until `scratch` is used again. A JPEG is decoded at a fraction of its size if it is
// much larger: half of the reduction is left to the filter.
PictureView decode_to_shape(std::span<const std::byte> file, const ImageShape& shape, Resize how, const Region& region,
                            ImagePart& scratch);

}  // namespace brigade::dataset
