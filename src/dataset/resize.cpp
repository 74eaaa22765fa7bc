// Two passes, along rows and then along columns, each a weighted sum of a few neighbours in fixed point: weights have
// 22 fractional bits, and the image between the passes has 8 bits, as in Pillow's Resample.c.
#include "resize.hpp"

#include <algorithm>
#include <cmath>

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

constexpr int kFractionBits = 22;

// Output pixel i is the sum of weights[i * most + k] * in[begin[i] + k] over k < count[i].
struct Filter {
  std::int64_t most = 0;
  std::vector<std::int64_t> begin, count;
  std::vector<std::int32_t> weights;
};

std::int64_t nearest(double x) { return static_cast<std::int64_t>(std::floor(x + 0.5)); }

Filter triangle_filter(std::int64_t in, std::int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = std::max(1.0, scale);  // half the width of the triangle, in input pixels
  Filter filter;
  filter.most = 2 * static_cast<std::int64_t>(std::ceil(support)) + 1;
  filter.weights.resize(static_cast<std::size_t>(out * filter.most));
  std::vector<double> weights(static_cast<std::size_t>(filter.most));
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max<std::int64_t>(0, nearest(centre - support));
    const auto end = std::min(in, nearest(centre + support));
    double sum = 0;
    for (std::int64_t k = begin; k < end; ++k) {
      const double distance = (static_cast<double>(k) - centre + 0.5) / support;
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

RgbImage resize_rows(const RgbImage& image, std::int64_t width) {
  const Filter filter = triangle_filter(image.width, width);
  RgbImage result{.height = image.height, .width = width, .pixels = {}};
  result.pixels.resize(static_cast<std::size_t>(3 * image.height * width));
  std::uint8_t* out = result.pixels.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* row = image.pixels.data() + 3 * y * image.width;
    for (std::int64_t x = 0; x < width; ++x) {
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

RgbImage resize_columns(const RgbImage& image, std::int64_t height) {
  const Filter filter = triangle_filter(image.height, height);
  const std::int64_t line = 3 * image.width;
  RgbImage result{.height = height, .width = image.width, .pixels = {}};
  result.pixels.resize(static_cast<std::size_t>(height * line));
  std::vector<std::int32_t> sum(static_cast<std::size_t>(line));
  for (std::int64_t y = 0; y < height; ++y) {
    std::fill(sum.begin(), sum.end(), kHalf);
    for (std::int64_t k = 0; k < filter.count[static_cast<std::size_t>(y)]; ++k) {
      const std::int32_t weight = filter.weights[static_cast<std::size_t>(y * filter.most + k)];
      const std::uint8_t* in = image.pixels.data() + (filter.begin[static_cast<std::size_t>(y)] + k) * line;
      for (std::int64_t x = 0; x < line; ++x) sum[static_cast<std::size_t>(x)] += in[x] * weight;
    }
    std::transform(sum.begin(), sum.end(), result.pixels.begin() + y * line, rounded);
  }
  return result;
}

}  // namespace

RgbImage resize(const RgbImage& image, std::int64_t height, std::int64_t width) {
  EXPECT(image.height > 0 && image.width > 0 && height > 0 && width > 0);
  if (image.width == width && image.height == height) return image;
  if (image.width == width) return resize_columns(image, height);
  if (image.height == height) return resize_rows(image, width);
  return resize_columns(resize_rows(image, width), height);
}

namespace {

// The part of `image` that lies around its centre, or `image` with black around it, side by side as it needs.
RgbImage centred(const RgbImage& image, std::int64_t height, std::int64_t width) {
  if (image.height == height && image.width == width) return image;
  RgbImage result{.height = height, .width = width, .pixels = {}};
  result.pixels.resize(static_cast<std::size_t>(3 * height * width));
  const std::int64_t rows = std::min(height, image.height), columns = std::min(width, image.width);
  const std::int64_t to_y = (height - rows) / 2, to_x = (width - columns) / 2;
  const std::int64_t from_y = (image.height - rows) / 2, from_x = (image.width - columns) / 2;
  for (std::int64_t y = 0; y < rows; ++y)
    std::copy_n(image.pixels.data() + 3 * ((from_y + y) * image.width + from_x), 3 * columns,
                result.pixels.data() + 3 * ((to_y + y) * width + to_x));
  return result;
}

// side * numerator / denominator, rounded to the nearest; at least one pixel.
std::int64_t scaled(std::int64_t side, std::int64_t numerator, std::int64_t denominator) {
  return std::max<std::int64_t>(1, (2 * side * numerator + denominator) / (2 * denominator));
}

}  // namespace

RgbImage fit(const RgbImage& image, std::int64_t height, std::int64_t width, Resize how) {
  if (how == Resize::squash) return resize(image, height, width);
  // True if the image, scaled to the new width, is as high as the new shape or higher.
  const bool tall = image.height * width >= height * image.width;
  const bool by_width = (how == Resize::shorter_crop) == tall;
  const std::int64_t to_height = by_width ? scaled(image.height, width, image.width) : height;
  const std::int64_t to_width = by_width ? width : scaled(image.width, height, image.height);
  require(to_height <= kMostPixels / to_width, "{}x{} pixels are too long and narrow to be scaled to {}x{}",
          image.height, image.width, height, width);
  return centred(resize(image, to_height, to_width), height, width);
}

PictureView decode_to_shape(std::span<const std::byte> file, const ImageShape& shape, Resize how, const Region& region,
                            ImagePart& scratch) {
  const Region all{0, 0, shape.height, shape.width};
  if (is_jpeg(file)) {
    decode_jpeg_part(file, shape.height, shape.width, region, scratch);
  } else {
    auto image = decode_image(file);
    scratch = {image.height, image.width, {0, 0, image.height, image.width}, std::move(image.pixels)};
  }
  if (scratch.height != shape.height || scratch.width != shape.width) {
    scratch.pixels.resize(static_cast<std::size_t>(3 * scratch.height * scratch.width));
    const RgbImage image{.height = scratch.height, .width = scratch.width, .pixels = std::move(scratch.pixels)};
    scratch = {shape.height, shape.width, all, fit(image, shape.height, shape.width, how).pixels};
  }
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
