// The one entry of EXIF that matters here: tag 0x0112, orientation. EXIF is a TIFF file inside a JPEG marker: byte
// order ("II" little-endian, "MM" big-endian), the number 42, the place of the first directory; a directory is a count
// and entries of 12 bytes: tag, type, count, value (JEITA CP-3451, section 4.6). Nothing in it is trusted.
#include <cstring>
#include <utility>

#include "decode_image.hpp"

namespace brigade::dataset {
namespace {

constexpr std::uint32_t kOrientation = 0x0112;
constexpr std::uint32_t kShort = 3;  // type of a 16-bit number
constexpr std::size_t kEntryBytes = 12;

class Tiff {
 public:
  explicit Tiff(std::span<const std::uint8_t> bytes) : bytes_(bytes) {
    big_ = bytes.size() >= 2 && bytes[0] == 'M' && bytes[1] == 'M';
  }
  // 0 beyond the end.
  std::uint32_t number(std::size_t offset, std::size_t bytes) const {
    if (offset > bytes_.size() || bytes > bytes_.size() - offset) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | bytes_[offset + (big_ ? i : bytes - 1 - i)];
    return value;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  bool big_ = false;
};

}  // namespace

int exif_orientation(std::span<const std::uint8_t> marker) {
  constexpr std::size_t kPrefix = 6;
  if (marker.size() < kPrefix || std::memcmp(marker.data(), "Exif\0\0", kPrefix) != 0) return 1;
  const Tiff tiff(marker.subspan(kPrefix));
  if (tiff.number(2, 2) != 42) return 1;
  const std::size_t directory = tiff.number(4, 4);
  const std::uint32_t entries = tiff.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (tiff.number(entry, 2) != kOrientation || tiff.number(entry + 2, 2) != kShort) continue;
    const auto value = static_cast<int>(tiff.number(entry + 8, 2));
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

RgbImage upright(RgbImage image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Where the pixel at row y, column x of the upright image is stored: 5 to 8 have rows and columns exchanged.
  const bool exchanged = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  RgbImage result{.height = image.height, .width = image.width, .pixels = {}};
  if (exchanged) std::swap(result.height, result.width);
  result.pixels.resize(image.pixels.size());
  std::uint8_t* out = result.pixels.data();
  for (std::int64_t y = 0; y < result.height; ++y)
    for (std::int64_t x = 0; x < result.width; ++x, out += 3) {
      const std::int64_t row = exchanged ? x : y, column = exchanged ? y : x;
      const std::int64_t from_row = from_bottom ? image.height - 1 - row : row;
      const std::int64_t from_column = from_right ? image.width - 1 - column : column;
      std::memcpy(out, image.pixels.data() + 3 * (from_row * image.width + from_column), 3);
    }
  return result;
}

}  // namespace brigade::dataset
