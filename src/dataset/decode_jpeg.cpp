// libjpeg reports errors by a callback that must not return: it jumps back into decode(), whose frame holds nothing
// that needs destroying. Damage that libjpeg would paint over in grey (a cut file, bad codes) counts as an error.
#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <utility>
// jpeglib.h needs size_t and FILE.
#include <jpeglib.h>
// jerror.h names the messages of jpeglib.h.
#include <jerror.h>

#include "brigade/core/error.hpp"
#include "decode_image.hpp"

namespace brigade::dataset {
namespace {

// A few kilobytes can ask for thousands of passes over a large image: a progressive file may have this many scans.
constexpr int kMostScans = 500;

struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg knows it by this address
  jpeg_progress_mgr monitor;
  std::jmp_buf escape;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void on_error(j_common_ptr jpeg) {
  auto* manager = reinterpret_cast<ErrorManager*>(jpeg->err);
  (*jpeg->err->format_message)(jpeg, manager->message.data());
  std::longjmp(manager->escape, 1);
}

void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;  // trace
  switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_BOGUS_PROGRESSION: on_error(jpeg);
    default: break;  // such as unknown extra bytes between markers: the pixels are right
  }
}

void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMostScans) return;
  auto* manager = reinterpret_cast<ErrorManager*>(jpeg->err);
  std::snprintf(manager->message.data(), manager->message.size(), "it has more than %d scans", kMostScans);
  std::longjmp(manager->escape, 1);
}

int halvings(std::int64_t side, std::int64_t enough) {
  int count = 0;
  while (enough > 0 && count < 3 && (side >> (count + 1)) >= enough) ++count;
  return count;
}

// A row of CMYK becomes RGB: each ink lets its share of the light pass. Adobe stores the inks inverted.
void row_from_cmyk(const std::uint8_t* cmyk, bool inverted, std::int64_t width, std::uint8_t* rgb) {
  for (std::int64_t x = 0; x < width; ++x, cmyk += 4)
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? cmyk[c] : 255 - cmyk[c];
      const int black = inverted ? cmyk[3] : 255 - cmyk[3];
      *rgb++ = static_cast<std::uint8_t>((ink * black + 127) / 255);
    }
}

int orientation_of(const jpeg_decompress_struct& jpeg) {
  for (const auto* marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
    const int orientation = exif_orientation({marker->data, marker->data_length});
    if (orientation != 1) return orientation;
  }
  return 1;
}

// What outlives the jump: decode() itself owns nothing.
struct Decoded {
  RgbImage image;
  int orientation = 1;
  std::vector<std::uint8_t> inks;  // a row of CMYK
};

// False: libjpeg has failed, and manager.message says why.
bool decode(jpeg_decompress_struct& jpeg, ErrorManager& manager, std::span<const std::byte> file, std::int64_t enough,
            Decoded& decoded) {
  if (setjmp(manager.escape) != 0) return false;
  RgbImage& image = decoded.image;
  jpeg_create_decompress(&jpeg);
  jpeg.progress = &manager.monitor;
  jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(file.data()), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&jpeg, TRUE);
  decoded.orientation = orientation_of(jpeg);
  const auto pixels = static_cast<std::int64_t>(jpeg.image_height) * jpeg.image_width;
  if (pixels > kMostPixels) {
    std::snprintf(manager.message.data(), manager.message.size(), "it claims %lld pixels, more than %lld",
                  static_cast<long long>(pixels), static_cast<long long>(kMostPixels));
    return false;
  }
  const bool four_inks = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
  jpeg.out_color_space = four_inks ? JCS_CMYK : JCS_RGB;
  jpeg.scale_num = 1;
  jpeg.scale_denom = 1U << halvings(std::min<std::int64_t>(jpeg.image_width, jpeg.image_height), enough);
  jpeg_start_decompress(&jpeg);

  image.height = jpeg.output_height;
  image.width = jpeg.output_width;
  image.pixels.resize(static_cast<std::size_t>(3 * image.height * image.width));
  if (four_inks) decoded.inks.resize(static_cast<std::size_t>(4 * image.width));
  while (jpeg.output_scanline < jpeg.output_height) {
    std::uint8_t* row = image.pixels.data() + static_cast<std::size_t>(3 * image.width) * jpeg.output_scanline;
    JSAMPROW target = four_inks ? decoded.inks.data() : row;
    jpeg_read_scanlines(&jpeg, &target, 1);
    if (four_inks) row_from_cmyk(decoded.inks.data(), jpeg.saw_Adobe_marker != 0, image.width, row);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

}  // namespace

RgbImage decode_jpeg(std::span<const std::byte> file, std::int64_t enough) {
  struct Decompressor : jpeg_decompress_struct {
    Decompressor() : jpeg_decompress_struct{} {}
    ~Decompressor() { jpeg_destroy_decompress(this); }
  } jpeg;
  ErrorManager manager{};
  jpeg.err = jpeg_std_error(&manager.base);
  manager.base.error_exit = on_error;
  manager.base.emit_message = on_message;
  manager.monitor.progress_monitor = on_progress;
  Decoded decoded;
  require(decode(jpeg, manager, file, enough, decoded), "not a complete JPEG image ({})", manager.message.data());
  return upright(std::move(decoded.image), decoded.orientation);
}

}  // namespace brigade::dataset
