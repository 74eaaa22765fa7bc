#include <array>
#include <cstdlib>

#include "../src/dataset/decode_image.hpp"
#include "../src/dataset/encode_image.hpp"
#include "../src/dataset/resize.hpp"
#include "brigade/core/random.hpp"
#include "dataset/support.hpp"

namespace brigade::dataset::testing {
namespace {

RgbImage decode(const Bytes& file, std::int64_t enough = 0) {
  return decode_image(std::as_bytes(std::span(file)), enough);
}

Bytes decode_all(const Bytes& file, const ImageShape& shape, Resize how) {
  ImagePart scratch;
  const auto view =
      decode_to_shape(std::as_bytes(std::span(file)), shape, how, {0, 0, shape.height, shape.width}, scratch);
  EXPECT_EQ(view.line, shape.width * shape.channels);
  return {view.pixels, view.pixels + shape.size()};
}

// The same formula in the Pillow script below.
RgbImage formula(std::int64_t height, std::int64_t width) {
  RgbImage image{.height = height, .width = width, .pixels = {}};
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t c = 0; c < 3; ++c)
        image.pixels.push_back(static_cast<std::uint8_t>((y * y * 31 + x * 57 + c * 101 + x * y * 7) % 256));
  return image;
}

// Smooth, so that JPEG keeps it nearly.
Bytes slope(int height, int width, int components) {
  Bytes pixels;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < components; ++c) pixels.push_back(static_cast<std::uint8_t>(40 + 2 * y + 3 * x + 20 * c));
  return pixels;
}

void expect_near(const Bytes& got, const Bytes& expected, int tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_LE(std::abs(got[i] - expected[i]), tolerance) << i;
}

TEST(Png, EveryKindBecomesRgb) {
  const Bytes rgb = slope(5, 7, 3);
  Bytes grey, grey_alpha, rgba, from_grey;
  for (std::size_t i = 0; i < rgb.size(); i += 3) {
    const auto alpha = static_cast<std::uint8_t>(i);
    grey.push_back(rgb[i]);
    grey_alpha.insert(grey_alpha.end(), {rgb[i], alpha});
    rgba.insert(rgba.end(), {rgb[i], rgb[i + 1], rgb[i + 2], alpha});
    from_grey.insert(from_grey.end(), 3, rgb[i]);
  }
  EXPECT_EQ(decode(png(rgb, 5, 7, 3)).pixels, rgb);
  EXPECT_EQ(decode(png(rgba, 5, 7, 4)).pixels, rgb);  // alpha is dropped
  EXPECT_EQ(decode(png(grey, 5, 7, 1)).pixels, from_grey);
  EXPECT_EQ(decode(png(grey_alpha, 5, 7, 2)).pixels, from_grey);
  const auto image = decode(palette_png({0, 2, 1, 1}, 2, 2, {1, 2, 3, 40, 50, 60, 255, 254, 253}));
  EXPECT_EQ(image.height, 2);
  EXPECT_EQ(image.pixels, (Bytes{1, 2, 3, 255, 254, 253, 40, 50, 60, 40, 50, 60}));
}

TEST(Jpeg, EveryKindBecomesRgb) {
  const auto colour = decode(jpeg(slope(16, 24, 3), 16, 24, 3, 100));
  EXPECT_EQ(colour.height, 16);
  EXPECT_EQ(colour.width, 24);
  expect_near(colour.pixels, slope(16, 24, 3), 4);

  Bytes from_grey;
  for (const auto value : slope(16, 24, 1)) from_grey.insert(from_grey.end(), 3, value);
  expect_near(decode(jpeg(slope(16, 24, 1), 16, 24, 1, 100)).pixels, from_grey, 2);

  Bytes inks, mixed;  // as Adobe stores them: 255 is no ink
  for (int i = 0; i < 16 * 16; ++i) {
    inks.insert(inks.end(), {200, 100, 50, 128});
    mixed.insert(mixed.end(), {100, 50, 25});
  }
  expect_near(decode(jpeg(inks, 16, 16, 4, 100)).pixels, mixed, 2);
}

TEST(Jpeg, IsDecodedSmallerIfThatIsEnough) {
  const auto file = jpeg(slope(48, 64, 1), 48, 64, 1);
  for (const auto& [enough, height] : std::initializer_list<std::pair<std::int64_t, std::int64_t>>{
           {0, 48}, {48, 48}, {25, 48}, {24, 24}, {12, 12}, {6, 6}, {1, 6}})
    EXPECT_EQ(decode(file, enough).height, height) << enough;
}

TEST(Image, NoCutOrFlippedFileIsTakenForWholeOrCrashes) {
  Bytes noise;
  for (std::int64_t i = 0; i < 24 * 24 * 3; ++i) noise.push_back(pixel(1, i));
  for (const auto& file : {jpeg(noise, 24, 24, 3), png(noise, 24, 24, 3)}) {
    for (std::size_t size = 0; size + 16 < file.size(); ++size)
      EXPECT_THROW(decode(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size))), DataError) << size;
    for (std::size_t i = 2; i < file.size(); ++i) {
      auto flipped = file;
      flipped[i] ^= 0x41;
      try {
        const auto image = decode(flipped);
        EXPECT_EQ(image.pixels.size(), static_cast<std::size_t>(3 * image.height * image.width));
      } catch (const DataError&) {
      }
    }
  }
}

TEST(Image, BombsAreRefusedBeforeMemoryIsTaken) {
  auto file = jpeg(slope(8, 8, 3), 8, 8, 3);
  for (std::size_t i = 0; i + 9 < file.size(); ++i)
    if (file[i] == 0xFF && file[i + 1] == 0xC0) {  // the frame header: 65500 x 65500
      file[i + 5] = file[i + 7] = 0xFF;
      file[i + 6] = file[i + 8] = 0xDC;
    }
  EXPECT_HAS(message_of<DataError>([&] { decode(file); }), "pixels, more than");
}

// Pillow 9.4: Image.fromarray(formula).resize((width, height), Image.BILINEAR), where
// y, x, c = np.mgrid[0:h, 0:w, 0:3]; formula = ((y*y*31 + x*57 + c*101 + x*y*7) % 256).astype(np.uint8)
TEST(Resize, EqualsPillow) {
  struct Case {
    std::int64_t in_height, in_width, height, width;
    Bytes expected;
  };
  const std::array cases{
      Case{7, 5, 3, 4, {56,  143, 152, 106, 130, 75, 147, 85,  116, 139, 121, 167, 102, 143, 150, 123, 132, 94,
                        108, 108, 149, 93,  175, 80, 97,  134, 125, 126, 128, 110, 117, 141, 165, 139, 158, 112}},
      Case{4, 4, 7, 6, {0,   101, 202, 29,  130, 103, 67,  168, 13,  104, 205, 50,  143, 116, 89,  171, 16,  117,
                        11,  112, 213, 41,  142, 115, 81,  167, 27,  120, 145, 66,  160, 87,  106, 190, 35,  136,
                        29,  130, 231, 61,  162, 135, 103, 164, 49,  145, 48,  91,  188, 42,  134, 219, 64,  165,
                        78,  179, 152, 112, 149, 122, 135, 108, 103, 95,  68,  147, 119, 92,  129, 152, 125, 98,
                        117, 218, 81,  153, 135, 108, 160, 61,  146, 50,  96,  194, 49,  141, 123, 75,  176, 40,
                        59,  160, 170, 97,  152, 125, 132, 129, 93,  121, 70,  143, 74,  93,  148, 30,  131, 140,
                        23,  124, 225, 62,  163, 136, 114, 172, 60,  166, 54,  112, 90,  63,  164, 1,   102, 203}},
      Case{9, 13, 2, 2, {120, 128, 124, 135, 128, 121, 124, 134, 133, 129, 121, 119}}};
  for (const auto& [in_height, in_width, height, width, expected] : cases) {
    const auto image = resize(formula(in_height, in_width), height, width);
    EXPECT_EQ(image.height, height);
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.pixels, expected) << height << "x" << width;
  }
  EXPECT_EQ(resize(formula(5, 5), 5, 5).pixels, formula(5, 5).pixels);
}

// The scaled image itself is compared with Pillow's above.
TEST(Fit, CropsAndPads) {
  const auto image = formula(9, 13);
  EXPECT_EQ(fit(image, 2, 2, Resize::squash).pixels, resize(image, 2, 2).pixels);
  const auto scaled = resize(image, 6, 9);  // 13 * 6 / 9 = 8.67
  const auto cropped = fit(image, 6, 6, Resize::shorter_crop);
  for (std::int64_t y = 0; y < 6; ++y)
    for (std::int64_t i = 0; i < 18; ++i)
      ASSERT_EQ(cropped.pixels[static_cast<std::size_t>(y * 18 + i)],
                scaled.pixels[static_cast<std::size_t>(y * 27 + 3 + i)]);
  const auto small = resize(image, 4, 6);  // 9 * 6 / 13 = 4.15
  const auto padded = fit(image, 6, 6, Resize::pad);
  for (std::int64_t y = 0; y < 6; ++y)
    for (std::int64_t i = 0; i < 18; ++i)
      ASSERT_EQ(padded.pixels[static_cast<std::size_t>(y * 18 + i)],
                y == 0 || y == 5 ? 0 : small.pixels[static_cast<std::size_t>((y - 1) * 18 + i)]);
}

TEST(Fit, RefusesAThreadTooLongToBeScaled) {
  const RgbImage thread{.height = 1 << 20, .width = 1, .pixels = Bytes(3 << 20)};
  EXPECT_HAS(message_of<DataError>([&] { fit(thread, 224, 224, Resize::shorter_crop); }), "too long and narrow");
  EXPECT_EQ(fit(thread, 224, 224, Resize::pad).pixels.size(), 3U * 224 * 224);
}

// The EXIF marker that says so, little- or big-endian, put behind the JPEG's first two bytes.
Bytes with_orientation(const Bytes& file, int orientation, bool big) {
  const auto value = static_cast<std::uint8_t>(orientation);
  Bytes exif{0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0};
  const Bytes little_tiff{'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0};
  const Bytes big_tiff{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0};
  const auto& tiff = big ? big_tiff : little_tiff;
  exif.insert(exif.end(), tiff.begin(), tiff.end());
  Bytes result = file;
  result.insert(result.begin() + 2, exif.begin(), exif.end());
  return result;
}

TEST(Exif, EveryOrientationStandsUpright) {
  // Darker to the lower right, so that every turn and mirror image differs.
  const auto file = jpeg(slope(16, 24, 3), 16, 24, 3, 100);
  const auto stored = decode(file);
  const auto at = [](const RgbImage& image, std::int64_t y, std::int64_t x) {
    return image.pixels[static_cast<std::size_t>(3 * (y * image.width + x))];
  };
  // The stored corner (y, x, as 0 or 1 for the far side) that becomes the upper left, the upper right.
  struct Case {
    int orientation, upper_left[2], upper_right[2];
  };
  for (const auto& [orientation, upper_left, upper_right] :
       {Case{1, {0, 0}, {0, 1}}, Case{2, {0, 1}, {0, 0}}, Case{3, {1, 1}, {1, 0}}, Case{4, {1, 0}, {1, 1}},
        Case{5, {0, 0}, {1, 0}}, Case{6, {1, 0}, {0, 0}}, Case{7, {1, 1}, {0, 1}}, Case{8, {0, 1}, {1, 1}}})
    for (const bool big : {false, true}) {
      const auto image = decode(with_orientation(file, orientation, big));
      EXPECT_EQ(image.height, orientation >= 5 ? 24 : 16) << orientation;
      EXPECT_EQ(image.width, orientation >= 5 ? 16 : 24) << orientation;
      EXPECT_EQ(at(image, 0, 0), at(stored, 15 * upper_left[0], 23 * upper_left[1])) << orientation;
      EXPECT_EQ(at(image, 0, image.width - 1), at(stored, 15 * upper_right[0], 23 * upper_right[1])) << orientation;
    }
  EXPECT_EQ(decode(with_orientation(file, 9, false)).pixels, stored.pixels);  // no such orientation
}

TEST(Exif, DamageIsNoOrientation) {
  Bytes marker{'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  EXPECT_EQ(exif_orientation(marker), 1);
  marker[10] = 8, marker[11] = marker[12] = marker[13] = 0;  // a directory of 65535 entries that are not there
  for (std::size_t size = 0; size <= marker.size(); ++size)
    EXPECT_EQ(exif_orientation(std::span(marker).first(size)), 1);
}

// The pixels of `region` are those of the whole image.
void expect_part(const Bytes& file, const ImageShape& shape, const Region& region, ImagePart& scratch,
                 Resize how = Resize::squash) {
  const Bytes whole = decode_all(file, shape, how);
  const auto view = decode_to_shape(std::as_bytes(std::span(file)), shape, how, region, scratch);
  ASSERT_LE(view.region.top, region.top);
  ASSERT_LE(view.region.left, region.left);
  ASSERT_GE(view.region.bottom(), region.bottom());
  ASSERT_GE(view.region.right(), region.right());
  for (std::int64_t y = region.top; y < region.bottom(); ++y) {
    const auto* expected = whole.data() + (y * shape.width + region.left) * shape.channels;
    ASSERT_TRUE(std::equal(view.at(y, region.left), view.at(y, region.right()), expected))
        << fmt::format("row {} of {}x{} from ({}, {}) of {}x{}", y, region.height, region.width, region.top,
                       region.left, shape.height, shape.width);
  }
}

Region some_region(const ImageShape& shape, std::uint64_t draw) {
  const auto below = [&](std::uint64_t number, std::int64_t count) {
    return static_cast<std::int64_t>(random_u32({.seed = 5}, 4 * draw + number)) % count;
  };
  Region region{.top = below(0, shape.height), .left = below(1, shape.width)};
  region.height = 1 + below(2, shape.height - region.top);
  region.width = 1 + below(3, shape.width - region.left);
  return region;
}

// Whatever number of pixels share a colour, which libjpeg blends over the borders of blocks.
TEST(JpegPart, HasThePixelsOfTheWhole) {
  ImagePart scratch;
  for (const auto& style : {JpegStyle{1, 1}, JpegStyle{1, 2}, JpegStyle{2, 1}, JpegStyle{2, 2}, JpegStyle{1, 4},
                            JpegStyle{2, 4}, JpegStyle{2, 2, true}})
    for (const auto& [height, width] : {std::pair{61, 83}, std::pair{1, 1}, std::pair{16, 130}, std::pair{40, 7}})
      for (const int channels : {1, 3}) {
        const ImageShape shape{height, width, channels};
        const auto file = jpeg(pixels_of(height, shape), height, width, channels, 90, style);
        for (std::uint64_t draw = 0; draw < 25; ++draw)
          ASSERT_NO_FATAL_FAILURE(expect_part(file, shape, some_region(shape, draw), scratch))
              << style.down << " x " << style.across;
      }
}

// Images that are scaled: smaller, a little larger, and so large that libjpeg decodes them at 1/2 and 1/4.
TEST(JpegPart, HasThePixelsOfTheWholeThatIsScaled) {
  ImagePart scratch;
  const ImageShape shape{24, 37, 3};
  for (const auto& style : {JpegStyle{1, 1}, JpegStyle{1, 2}, JpegStyle{2, 1}, JpegStyle{2, 2}, JpegStyle{2, 4},
                            JpegStyle{4, 2}, JpegStyle{2, 2, true}})
    for (const auto& [height, width] : {std::pair{20, 30}, std::pair{24, 60}, std::pair{61, 83}, std::pair{37, 24},
                                        std::pair{170, 151}, std::pair{310, 420}})
      for (const auto how : {Resize::squash, Resize::shorter_crop, Resize::pad}) {
        const auto file = jpeg(pixels_of(height, {height, width, 3}), height, width, 3, 90, style);
        for (std::uint64_t draw = 0; draw < 12; ++draw)
          ASSERT_NO_FATAL_FAILURE(expect_part(file, shape, some_region(shape, draw), scratch, how))
              << style.down << " x " << style.across << ", " << height << "x" << width;
      }
}

TEST(JpegPart, OnlyWhatIsNeededIsDecoded) {
  ImagePart part;
  const auto file = jpeg(slope(200, 300, 3), 200, 300, 3);
  decode_jpeg_part(
      std::as_bytes(std::span(file)), 0,
      [](std::int64_t height, std::int64_t width) {
        EXPECT_EQ(std::pair(height, width), std::pair(std::int64_t{200}, std::int64_t{300}));
        return Region{50, 100, 20, 30};
      },
      part);
  EXPECT_EQ(part.covered.height, 20);
  EXPECT_LT(part.covered.width, 30 + 4 * 16);  // to the borders of blocks
}

TEST(JpegPart, ImagesOfAnotherKindAreRightToo) {
  ImagePart scratch;
  const ImageShape shape{20, 30, 3};
  for (const auto& file : {jpeg(slope(50, 60, 3), 50, 60, 3), jpeg(slope(20, 30, 4), 20, 30, 4),
                           png(slope(20, 30, 3), 20, 30, 3), jpeg(slope(90, 300, 3), 90, 300, 3)})
    ASSERT_NO_FATAL_FAILURE(expect_part(file, shape, {3, 4, 10, 11}, scratch));
  const auto turned = file_bytes(BRIGADE_SOURCE_DIR "/tests/dataset/fixtures/exif6.jpg");
  const auto image = decode(turned);
  for (const auto& [height, width] : {std::pair{image.height, image.width}, std::pair{image.width, image.height}})
    ASSERT_NO_FATAL_FAILURE(expect_part(turned, {height, width, 3}, {1, 2, 3, 4}, scratch));
}

TEST(JpegPart, DamageWithinIsAnError) {
  const ImageShape shape{64, 64, 3};
  auto file = jpeg(pixels_of(1, shape), 64, 64, 3);
  file.resize(file.size() / 2);
  ImagePart scratch;
  const auto decode_rows = [&](std::int64_t top, std::int64_t height) {
    decode_to_shape(std::as_bytes(std::span(file)), shape, Resize::squash, {top, 8, height, 9}, scratch);
  };
  EXPECT_NO_THROW(decode_rows(0, 8));
  EXPECT_HAS(message_of<DataError>([&] { decode_rows(0, 60); }), "not a complete JPEG image");
  EXPECT_HAS(message_of<DataError>([&] { decode_rows(60, 4); }), "not a complete JPEG image");
}

TEST(Encode, JpegIsNearAndPngIsExact) {
  for (const std::int64_t channels : {1, 3}) {
    const auto pixels = slope(16, 24, static_cast<int>(channels));
    Bytes file, expected;
    for (const auto value : pixels) expected.insert(expected.end(), channels == 1 ? 3 : 1, value);
    encode_jpeg(pixels, {16, 24, channels}, 95, file);
    expect_near(decode(file).pixels, expected, 6);
    encode_png(pixels, {16, 24, channels}, file);
    EXPECT_EQ(decode(file).pixels, expected);
    EXPECT_EQ(decode_all(file, {16, 24, channels}, Resize::squash), pixels);
  }
}

// Fixtures and expected pixels were made by Pillow (make_fixtures.py says how).
TEST(Fixtures, AreWithinAGreyLevelOfPillow) {
  const fs::path directory = BRIGADE_SOURCE_DIR "/tests/dataset/fixtures";
  constexpr ImageShape kShape{24, 24, 3};
  const auto expected = file_bytes(directory / "expected.rgb");
  const auto* next = expected.data();
  for (const std::string name :
       {"grey.jpg", "cmyk.jpg", "progressive.jpg", "exif6.jpg", "large.jpg", "rgb16.png", "grey16.png", "palette.png"})
    for (const auto how : {Resize::squash, Resize::shorter_crop, Resize::pad}) {
      ASSERT_LE(next + kShape.size(), expected.data() + expected.size());
      const auto file = file_bytes(directory / name);
      const Bytes pixels = decode_all(file, kShape, how);
      double difference = 0;
      for (const auto pixel : pixels) difference += std::abs(pixel - *next++);
      EXPECT_LE(difference / static_cast<double>(kShape.size()), 1.0) << name << ", way " << static_cast<int>(how);
    }
}

}  // namespace
}  // namespace brigade::dataset::testing
