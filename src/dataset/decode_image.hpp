// JPEG and PNG to RGB. Grey, palette, alpha (dropped), 16-bit and CMYK images all become [height, width, 3], upright.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "picture_view.hpp"

namespace brigade::dataset {

struct RgbImage {
  std::int64_t height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
};

// Larger images are refused before memory is taken: a few hundred bytes can claim gigapixels.
inline constexpr std::int64_t kMostPixels = std::int64_t{1} << 26;

// Told apart by their first bytes. Throws DataError (without a file name) if the image does not decode completely.
// A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as both sides stay at least `enough` pixels;
// 0: at full size. The orientation that a camera noted in a JPEG (EXIF) is applied.
RgbImage decode_image(std::span<const std::byte> file, std::int64_t enough = 0);

bool is_jpeg(std::span<const std::byte> file);  // by its first bytes
RgbImage decode_jpeg(std::span<const std::byte> file, std::int64_t enough);

// Some pixels of an image; the memory stays from one image to the next.
struct ImagePart {
  std::int64_t height = 0, width = 0;  // of the whole image
  Region covered;                      // what `pixels` begins with: [covered.height, covered.width, 3]
  std::vector<std::uint8_t> pixels;
};
// Decodes the pixels that `needed` answers for the sides of the image, and perhaps more: of a JPEG that stands on its
// side or is in CMYK, all. It is decoded at 1/2, 1/4 or 1/8 of its size as long as both sides stay at least `enough`
// pixels, and `needed` is asked for that size. Damage below what is needed is not noticed.
using NeededPart = std::function<Region(std::int64_t height, std::int64_t width)>;
void decode_jpeg_part(std::span<const std::byte> file, std::int64_t enough, const NeededPart& needed, ImagePart& part);

RgbImage decode_png(std::span<const std::byte> file);

// The orientation in the contents of a JPEG's APP1 marker ("Exif", two zeros, then TIFF): 1 to 8; 1, upright, if it is
// absent or damaged.
int exif_orientation(std::span<const std::uint8_t> marker);
// Turns and mirrors an image as stored so that it stands upright.
RgbImage upright(RgbImage image, int orientation);

}  // namespace brigade::dataset
