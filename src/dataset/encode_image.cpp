#include "encode_image.hpp"

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
// jpeglib.h needs size_t and FILE.
#include <jpeglib.h>
#include <png.h>

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg knows it by this address
  std::jmp_buf escape;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void on_error(j_common_ptr jpeg) {
  auto* manager = reinterpret_cast<ErrorManager*>(jpeg->err);
  (*jpeg->err->format_message)(jpeg, manager->message.data());
  std::longjmp(manager->escape, 1);
}

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

// False: libjpeg has failed, and manager.message says why. Owns nothing: an error jumps out of it.
bool encode(Compressor& jpeg, ErrorManager& manager, const std::uint8_t* pixels, const ImageShape& shape, int quality) {
  if (setjmp(manager.escape) != 0) return false;
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
  ErrorManager manager{};
  Compressor jpeg;
  jpeg.err = jpeg_std_error(&manager.base);
  manager.base.error_exit = on_error;
  require(encode(jpeg, manager, pixels.data(), shape, quality), "cannot be encoded as JPEG ({})",
          manager.message.data());
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
