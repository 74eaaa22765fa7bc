#include <png.h>

#include <algorithm>
#include <array>

#include "brigade/core/error.hpp"
#include "decode_image.hpp"

namespace brigade::dataset {
namespace {

// libpng's simplified interface: every kind of PNG comes out as 8-bit RGBA.
struct PngImage : png_image {
  PngImage() : png_image{} { version = PNG_IMAGE_VERSION; }
  ~PngImage() { png_image_free(this); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;
};

}  // namespace

RgbImage decode_png(std::span<const std::byte> file) {
  PngImage png;
  require(png_image_begin_read_from_memory(&png, file.data(), file.size()) != 0, "not a PNG image ({})", png.message);
  const auto pixels = static_cast<std::int64_t>(png.height) * png.width;
  require(pixels <= kMostPixels, "not decoded (it claims {} pixels, more than {})", pixels, kMostPixels);
  png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  png.format = PNG_FORMAT_RGBA;
  std::vector<std::uint8_t> rgba(static_cast<std::size_t>(4 * pixels));
  require(png_image_finish_read(&png, nullptr, rgba.data(), 0, nullptr) != 0 && PNG_IMAGE_FAILED(png) == 0,
          "not a complete PNG image ({})", png.message);

  RgbImage image{.height = png.height, .width = png.width, .pixels = {}};
  image.pixels.resize(static_cast<std::size_t>(3 * pixels));
  for (std::size_t i = 0; i < static_cast<std::size_t>(pixels); ++i)
    for (std::size_t c = 0; c < 3; ++c) image.pixels[3 * i + c] = rgba[4 * i + c];
  return image;
}

bool is_jpeg(std::span<const std::byte> file) {
  return file.size() >= 2 && file[0] == std::byte{0xFF} && file[1] == std::byte{0xD8};
}

RgbImage decode_image(std::span<const std::byte> file, std::int64_t enough) {
  require(!file.empty(), "the file is empty");
  if (is_jpeg(file)) return decode_jpeg(file, enough);
  const std::array magic{std::byte{0x89}, std::byte{'P'}, std::byte{'N'}, std::byte{'G'}};
  if (file.size() >= magic.size() && std::equal(magic.begin(), magic.end(), file.begin())) return decode_png(file);
  throw DataError("neither JPEG nor PNG (by its first bytes)");
}

}  // namespace brigade::dataset
