#include "encode_image.hpp"

#include <png.h>

#include <cstdlib>

#include "brigade/core/error.hpp"
#include "jpeg_errors.hpp"

namespace brigade::dataset {
namespace {

struct Compressor : jpeg_compress_struct {
  Compressor() : jpeg_compress_struct{} {}
  ~Compressor() {
    jpeg_destroy_compress(this);
    std::free(memory);
  }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  unsigned char* memory = nullptr;  // libjpeg's, by malloc
  unsigned long size = 0;
};

// False: libjpeg has failed, and errors.message says why. Owns nothing: an error jumps out of it.
bool encode(Compressor& jpeg, JpegErrors& errors, const std::uint8_t* pixels, const ImageShape& shape, int quality) {
  if (setjmp(errors.escape) != 0) return false;
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, &jpeg.memory, &jpeg.size);
  jpeg.image_height = static_cast<JDIMENSION>(shape.height);
  jpeg.image_width = static_cast<JDIMENSION>(shape.width);
  jpeg.input_components = static_cast<int>(shape.channels);
  jpeg.in_color_space = shape.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  jpeg_start_compress(&jpeg, TRUE);
  const auto line = static_cast<std::size_t>(shape.width * shape.channels);
  while (jpeg.next_scanline < jpeg.image_height) {
    auto* row = const_cast<JSAMPLE*>(pixels + line * jpeg.next_scanline);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  return true;
}

}  // namespace

void encode_jpeg(std::span<const std::uint8_t> pixels, const ImageShape& shape, int quality,
                 std::vector<std::uint8_t>& file) {
  EXPECT(static_cast<std::int64_t>(pixels.size()) == shape.size());
  JpegErrors errors;
  Compressor jpeg;
  jpeg.err = errors.manager();
  require(encode(jpeg, errors, pixels.data(), shape, quality), "cannot be encoded as JPEG ({})", errors.message.data());
  file.assign(jpeg.memory, jpeg.memory + jpeg.size);
}

void encode_png(std::span<const std::uint8_t> pixels, const ImageShape& shape, std::vector<std::uint8_t>& file) {
  EXPECT(static_cast<std::int64_t>(pixels.size()) == shape.size());
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.height = static_cast<png_uint_32>(shape.height);
  png.width = static_cast<png_uint_32>(shape.width);
  png.format = shape.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
  file.resize(size);
  require(png_image_write_to_memory(&png, file.data(), &size, 0, pixels.data(), 0, nullptr) != 0,
          "cannot be encoded as PNG ({})", png.message);
  file.resize(size);
}

}  // namespace brigade::dataset
