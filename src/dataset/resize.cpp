// Two passes, along rows and then along columns, each a weighted sum of a few neighbours in fixed point: weights have
// 22 fractional bits, and the image between the passes has 8 bits, as in Pillow's Resample.c. Of a part of the result,
// only that part is computed, and only what it is computed from is looked at.
#include "resize.hpp"

#include <algorithm>
#include <cmath>

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

constexpr int kFractionBits = 22;

// Pixels [begin, end) of a row or column.
struct Span {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// Pixel i of those wanted is the sum of weights[i * most + k] * in[begin[i] + k] over k < count[i].
struct Filter {
  std::int64_t most = 0;
  std::vector<std::int64_t> begin, count;
  std::vector<std::int32_t> weights;
};

std::int64_t nearest(double x) { return static_cast<std::int64_t>(std::floor(x + 0.5)); }

// `in` pixels become `out`.
struct Scaling {
  Scaling(std::int64_t in_pixels, std::int64_t out)
      : in(in_pixels), scale(static_cast<double>(in) / static_cast<double>(out)), support(std::max(1.0, scale)) {}
  double centre(std::int64_t i) const { return (static_cast<double>(i) + 0.5) * scale; }
  // What output pixel i is made of.
  Span from(std::int64_t i) const {
    return {std::max<std::int64_t>(0, nearest(centre(i) - support)), std::min(in, nearest(centre(i) + support))};
  }
  Span from(Span wanted) const { return {from(wanted.begin).begin, from(wanted.end - 1).end}; }

  std::int64_t in;
  double scale, support;  // half the width of the triangle, in input pixels
};

Filter triangle_filter(const Scaling& scaling, Span wanted) {
  Filter filter;
  filter.most = 2 * static_cast<std::int64_t>(std::ceil(scaling.support)) + 1;
  filter.weights.resize(static_cast<std::size_t>(wanted.size() * filter.most));
  std::vector<double> weights(static_cast<std::size_t>(filter.most));
  for (std::int64_t i = 0; i < wanted.size(); ++i) {
    const double centre = scaling.centre(wanted.begin + i);
    const auto [begin, end] = scaling.from(wanted.begin + i);
    double sum = 0;
    for (std::int64_t k = begin; k < end; ++k) {
      const double distance = (static_cast<double>(k) - centre + 0.5) / scaling.support;
      sum += weights[static_cast<std::size_t>(k - begin)] = std::max(0.0, 1.0 - std::abs(distance));
    }
    for (std::int64_t k = begin; k < end; ++k)
      filter.weights[static_cast<std::size_t>(i * filter.most + k - begin)] = static_cast<std::int32_t>(
          nearest(weights[static_cast<std::size_t>(k - begin)] / sum * static_cast<double>(1 << kFractionBits)));
    filter.begin.push_back(begin);
    filter.count.push_back(end - begin);
  }
  return filter;
}

std::uint8_t rounded(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }
constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);

// Columns `wanted` of the image scaled to `width`; its rows are those that are there.
ImagePart resize_rows(const ImagePart& image, std::int64_t width, Span wanted) {
  const Filter filter = triangle_filter({image.width, width}, wanted);
  const Region& there = image.covered;
  ImagePart result{.height = image.height,
                   .width = width,
                   .covered = {there.top, wanted.begin, there.height, wanted.size()},
                   .pixels = {}};
  result.pixels.resize(static_cast<std::size_t>(3 * there.height * wanted.size()));
  std::uint8_t* out = result.pixels.data();
  for (std::int64_t y = 0; y < there.height; ++y) {
    const std::uint8_t* row = image.pixels.data() + 3 * (y * there.width - there.left);
    for (std::int64_t x = 0; x < wanted.size(); ++x) {
      const std::int32_t* weight = filter.weights.data() + x * filter.most;
      const std::uint8_t* in = row + 3 * filter.begin[static_cast<std::size_t>(x)];
      std::int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (std::int64_t k = 0; k < filter.count[static_cast<std::size_t>(x)]; ++k, in += 3) {
        red += in[0] * weight[k];
        green += in[1] * weight[k];
        blue += in[2] * weight[k];
      }
      *out++ = rounded(red);
      *out++ = rounded(green);
      *out++ = rounded(blue);
    }
  }
  return result;
}

// Rows `wanted` of the image scaled to `height`; its columns are those that are there.
ImagePart resize_columns(const ImagePart& image, std::int64_t height, Span wanted) {
  const Filter filter = triangle_filter({image.height, height}, wanted);
  const Region& there = image.covered;
  const std::int64_t line = 3 * there.width;
  ImagePart result{.height = height,
                   .width = image.width,
                   .covered = {wanted.begin, there.left, wanted.size(), there.width},
                   .pixels = {}};
  result.pixels.resize(static_cast<std::size_t>(wanted.size() * line));
  std::vector<std::int32_t> sum(static_cast<std::size_t>(line));
  for (std::int64_t y = 0; y < wanted.size(); ++y) {
    std::fill(sum.begin(), sum.end(), kHalf);
    for (std::int64_t k = 0; k < filter.count[static_cast<std::size_t>(y)]; ++k) {
      const std::int32_t weight = filter.weights[static_cast<std::size_t>(y * filter.most + k)];
      const std::uint8_t* in = image.pixels.data() + (filter.begin[static_cast<std::size_t>(y)] + k - there.top) * line;
      for (std::int64_t x = 0; x < line; ++x) sum[static_cast<std::size_t>(x)] += in[x] * weight;
    }
    std::transform(sum.begin(), sum.end(), result.pixels.begin() + y * line, rounded);
  }
  return result;
}

// Pixels `wanted` of the image scaled to height x width.
ImagePart resize_part(ImagePart image, std::int64_t height, std::int64_t width, const Region& wanted) {
  if (image.width != width) image = resize_rows(image, width, {wanted.left, wanted.right()});
  if (image.height != height) image = resize_columns(image, height, {wanted.top, wanted.bottom()});
  return image;
}

// What of an image of height x width those are made of.
Region needed_to_resize(std::int64_t from_height, std::int64_t from_width, std::int64_t height, std::int64_t width,
                        const Region& wanted) {
  const Span rows = Scaling(from_height, height).from(Span{wanted.top, wanted.bottom()});
  const Span columns = Scaling(from_width, width).from(Span{wanted.left, wanted.right()});
  return {rows.begin, columns.begin, rows.size(), columns.size()};
}

ImagePart whole(RgbImage image) {
  return {image.height, image.width, {0, 0, image.height, image.width}, std::move(image.pixels)};
}

}  // namespace

RgbImage resize(const RgbImage& image, std::int64_t height, std::int64_t width) {
  EXPECT(image.height > 0 && image.width > 0 && height > 0 && width > 0);
  return {.height = height,
          .width = width,
          .pixels = resize_part(whole(image), height, width, {0, 0, height, width}).pixels};
}

namespace {

// side * numerator / denominator, rounded to the nearest; at least one pixel.
std::int64_t scaled(std::int64_t side, std::int64_t numerator, std::int64_t denominator) {
  return std::max<std::int64_t>(1, (2 * side * numerator + denominator) / (2 * denominator));
}

// How an image is brought to a shape: it is scaled, and pixel (y, x) of the result is (y + down, x + across) of that,
// black where there is none.
struct Fitting {
  std::int64_t height = 0, width = 0;  // scaled to
  std::int64_t down = 0, across = 0;

  // Which of the scaled image's pixels a region of the result shows; it may be empty.
  Region shown(const Region& region) const {
    const std::int64_t top = std::clamp<std::int64_t>(region.top + down, 0, height),
                       left = std::clamp<std::int64_t>(region.left + across, 0, width);
    return {top, left, std::clamp<std::int64_t>(region.bottom() + down, 0, height) - top,
            std::clamp<std::int64_t>(region.right() + across, 0, width) - left};
  }
};

// Around the centre.
std::int64_t offset(std::int64_t scaled_side, std::int64_t side) {
  return scaled_side >= side ? (scaled_side - side) / 2 : -((side - scaled_side) / 2);
}

Fitting fitting_of(std::int64_t from_height, std::int64_t from_width, std::int64_t height, std::int64_t width,
                   Resize how) {
  if (how == Resize::squash) return {.height = height, .width = width};
  // True if the image, scaled to the new width, is as high as the new shape or higher.
  const bool tall = from_height * width >= height * from_width;
  const bool by_width = (how == Resize::shorter_crop) == tall;
  const std::int64_t to_height = by_width ? scaled(from_height, width, from_width) : height;
  const std::int64_t to_width = by_width ? width : scaled(from_width, height, from_height);
  require(to_height <= kMostPixels / to_width, "{}x{} pixels are too long and narrow to be scaled to {}x{}",
          from_height, from_width, height, width);
  return {to_height, to_width, offset(to_height, height), offset(to_width, width)};
}

// What of an image of height x width must be there for `region` of the result.
Region needed_to_fit(std::int64_t from_height, std::int64_t from_width, const ImageShape& shape, Resize how,
                     const Region& region) {
  const Fitting to = fitting_of(from_height, from_width, shape.height, shape.width, how);
  Region shown = to.shown(region);
  if (shown.height == 0 || shown.width == 0)
    shown = {0, 0, 1, 1};  // nothing but black: libjpeg has to decode something
  return needed_to_resize(from_height, from_width, to.height, to.width, shown);
}

// `region` of the image brought to height x width.
ImagePart fit_part(ImagePart image, std::int64_t height, std::int64_t width, Resize how, const Region& region) {
  const Fitting to = fitting_of(image.height, image.width, height, width, how);
  const Region shown = to.shown(region);
  ImagePart result{.height = height, .width = width, .covered = region, .pixels = {}};
  result.pixels.resize(static_cast<std::size_t>(3 * region.height * region.width));
  if (shown.height == 0 || shown.width == 0) return result;
  const ImagePart scaled = resize_part(std::move(image), to.height, to.width, shown);
  const Region& there = scaled.covered;
  for (std::int64_t y = 0; y < shown.height; ++y)
    std::copy_n(scaled.pixels.data() + 3 * ((shown.top + y - there.top) * there.width + shown.left - there.left),
                3 * shown.width,
                result.pixels.data() +
                    3 * ((shown.top + y - to.down - region.top) * region.width + shown.left - to.across - region.left));
  return result;
}

}  // namespace

RgbImage fit(const RgbImage& image, std::int64_t height, std::int64_t width, Resize how) {
  return {.height = height,
          .width = width,
          .pixels = fit_part(whole(image), height, width, how, {0, 0, height, width}).pixels};
}

PictureView decode_to_shape(std::span<const std::byte> file, const ImageShape& shape, Resize how, const Region& region,
                            ImagePart& scratch) {
  if (is_jpeg(file))
    decode_jpeg_part(
        file, 2 * std::max(shape.height, shape.width),
        [&](std::int64_t height, std::int64_t width) {
          return height == shape.height && width == shape.width ? region
                                                                : needed_to_fit(height, width, shape, how, region);
        },
        scratch);
  else
    scratch = whole(decode_image(file));
  if (scratch.height != shape.height || scratch.width != shape.width)
    scratch = fit_part(std::move(scratch), shape.height, shape.width, how, region);
  const Region covered = scratch.covered;
  if (shape.channels == 1)
    for (std::size_t i = 0; i < static_cast<std::size_t>(covered.height * covered.width); ++i)
      scratch.pixels[i] = scratch.pixels[3 * i];
  return {.pixels = scratch.pixels.data(),
          .region = covered,
          .line = covered.width * shape.channels,
          .channels = shape.channels};
}

}  // namespace brigade::dataset
