// An error jumps back into decode(), whose frame holds nothing that needs destroying. Damage that libjpeg would paint
// over in grey (a cut file, bad codes) counts as an error.
//
// Of a part of an image, rows above it are entropy-decoded only, rows below it are not looked at, and columns beside it
// are neither transformed nor converted. libjpeg computes the colours of a column from those of its neighbours, and
// treats the edge of what it computes as the edge of the image: so kMargin columns more are computed than are wanted,
// and those wanted have the values they have in the whole image.
#include <algorithm>
#include <utility>

#include "jpeg_errors.hpp"
// jerror.h names the messages of jpeglib.h.
#include <jerror.h>

#include "brigade/core/error.hpp"
#include "decode_image.hpp"

namespace brigade::dataset {
namespace {

// A few kilobytes can ask for thousands of passes over a large image: a progressive file may have this many scans.
constexpr int kMostScans = 500;

constexpr std::int64_t kMargin = 2;  // columns; the chroma of a pixel comes from at most two neighbouring samples

void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;  // trace
  switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_BOGUS_PROGRESSION: fail(jpeg);
    default: break;  // such as unknown extra bytes between markers: the pixels are right
  }
}

void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMostScans) return;
  JpegErrors& errors = errors_of(jpeg);
  std::snprintf(errors.message.data(), errors.message.size(), "it has more than %d scans", kMostScans);
  std::longjmp(errors.escape, 1);
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

// What is asked for, and what was found; outlives the jump, because decode() itself owns nothing.
struct Work {
  std::int64_t enough = 0;             // sides that need not be exceeded; 0: full size
  const NeededPart* needed = nullptr;  // of an image that is stored upright; null: all
  int orientation = 1;
  std::vector<std::uint8_t> inks{};  // a row of CMYK
  jpeg_progress_mgr monitor{};
};

// Sets what libjpeg shall make, and which part of it.
void choose(jpeg_decompress_struct& jpeg, Work& work, ImagePart& part) {
  const bool four_inks = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
  jpeg.out_color_space = four_inks ? JCS_CMYK : JCS_RGB;
  jpeg.scale_num = 1;
  jpeg.scale_denom = 1U << halvings(std::min<std::int64_t>(jpeg.image_width, jpeg.image_height), work.enough);
  jpeg_start_decompress(&jpeg);
  part.height = jpeg.output_height;
  part.width = jpeg.output_width;
  part.covered = {0, 0, part.height, part.width};
  if (four_inks || work.orientation != 1 || work.needed == nullptr) return;
  const Region region = (*work.needed)(part.height, part.width);
  // Colours sampled at every fourth pixel grow by a larger transform when the image is scaled, which
  // jpeg_crop_scanline() overlooks.
  const bool crops = jpeg.scale_denom == 1 || std::max(jpeg.max_h_samp_factor, jpeg.max_v_samp_factor) <= 2;
  const auto begin = crops ? std::max<std::int64_t>(0, region.left - kMargin) : 0;
  const auto end = crops ? std::min(part.width, region.right() + kMargin) : part.width;
  auto left = static_cast<JDIMENSION>(begin), width = static_cast<JDIMENSION>(end - begin);
  if (end - begin < part.width) jpeg_crop_scanline(&jpeg, &left, &width);
  part.covered = {region.top, left, region.height, width};
}

void read_rows(jpeg_decompress_struct& jpeg, Work& work, ImagePart& part) {
  const bool four_inks = jpeg.out_color_space == JCS_CMYK;
  const auto line = static_cast<std::size_t>(3 * part.covered.width);
  const auto top = static_cast<JDIMENSION>(part.covered.top),
             bottom = top + static_cast<JDIMENSION>(part.covered.height);
  if (const auto bytes = line * (bottom - top); part.pixels.size() < bytes) part.pixels.resize(bytes);
  if (four_inks) work.inks.resize(static_cast<std::size_t>(4 * part.covered.width));
  if (top > 0) jpeg_skip_scanlines(&jpeg, top);
  while (jpeg.output_scanline < bottom) {
    std::uint8_t* row = part.pixels.data() + line * (jpeg.output_scanline - top);
    JSAMPROW target = four_inks ? work.inks.data() : row;
    jpeg_read_scanlines(&jpeg, &target, 1);
    if (four_inks) row_from_cmyk(work.inks.data(), jpeg.saw_Adobe_marker != 0, part.covered.width, row);
  }
  if (bottom == jpeg.output_height) jpeg_finish_decompress(&jpeg);
}

// False: libjpeg has failed, and errors.message says why.
bool decode(jpeg_decompress_struct& jpeg, JpegErrors& errors, std::span<const std::byte> file, Work& work,
            ImagePart& part) {
  if (setjmp(errors.escape) != 0) return false;
  jpeg_create_decompress(&jpeg);
  work.monitor.progress_monitor = on_progress;
  jpeg.progress = &work.monitor;
  jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(file.data()), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&jpeg, TRUE);
  work.orientation = orientation_of(jpeg);
  const auto pixels = static_cast<std::int64_t>(jpeg.image_height) * jpeg.image_width;
  if (pixels > kMostPixels) {
    std::snprintf(errors.message.data(), errors.message.size(), "it claims %lld pixels, more than %lld",
                  static_cast<long long>(pixels), static_cast<long long>(kMostPixels));
    return false;
  }
  choose(jpeg, work, part);
  read_rows(jpeg, work, part);
  return true;
}

void decode(std::span<const std::byte> file, Work& work, ImagePart& part) {
  struct Decompressor : jpeg_decompress_struct {
    Decompressor() : jpeg_decompress_struct{} {}
    ~Decompressor() { jpeg_destroy_decompress(this); }
  } jpeg;
  JpegErrors errors;
  jpeg.err = errors.manager();
  errors.base.emit_message = on_message;
  require(decode(jpeg, errors, file, work, part), "not a complete JPEG image ({})", errors.message.data());
}

}  // namespace

RgbImage decode_jpeg(std::span<const std::byte> file, std::int64_t enough) {
  Work work{.enough = enough};
  ImagePart part;
  decode(file, work, part);
  return upright({.height = part.height, .width = part.width, .pixels = std::move(part.pixels)}, work.orientation);
}

void decode_jpeg_part(std::span<const std::byte> file, std::int64_t enough, const NeededPart& needed, ImagePart& part) {
  Work work{.enough = enough, .needed = &needed};
  decode(file, work, part);
  if (work.orientation == 1) return;
  auto image =
      upright({.height = part.height, .width = part.width, .pixels = std::move(part.pixels)}, work.orientation);
  part = {.height = image.height,
          .width = image.width,
          .covered = {0, 0, image.height, image.width},
          .pixels = std::move(image.pixels)};
}

}  // namespace brigade::dataset
