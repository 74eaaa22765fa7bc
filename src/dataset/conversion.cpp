#include "conversion.hpp"

#include <algorithm>
#include <cstring>

#include "brigade/core/checksum.hpp"
#include "encode_image.hpp"
#include "resize.hpp"

namespace brigade::dataset {
namespace {

RgbImage to_rgb(std::span<const std::byte> pixels, const ImageShape& shape) {
  RgbImage image{.height = shape.height, .width = shape.width, .pixels = {}};
  image.pixels.resize(static_cast<std::size_t>(3 * shape.height * shape.width));
  const auto step = static_cast<std::size_t>(shape.channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = std::to_integer<std::uint8_t>(pixels[step == 3 ? i : i / 3]);
  return image;
}

// The first image of the source that decodes; nothing if none does.
std::optional<ImageShape> first_shape(const Source& source) {
  std::vector<std::byte> file;
  for (std::int64_t index = 0; index < source.samples(); ++index) try {
      source.fetch(index, file);
      const RgbImage image = decode_image(file);
      return ImageShape{image.height, image.width, source.channels()};
    } catch (const DataError&) {  // ingest will list it
    }
  return std::nullopt;
}

}  // namespace

Conversion::Conversion(const Source& source, const ImageShape& image, const IngestOptions& options)
    : source_(source),
      from_(source.pixels()),
      image_(image),
      layout_(options.layout),
      quality_(options.quality),
      fixed_size_(options.image_size > 0),
      resize_(options.resize) {}

void Conversion::to_pixels(const std::vector<std::byte>& fetched, std::vector<std::uint8_t>& pixels) const {
  pixels.resize(static_cast<std::size_t>(image_.size()));
  if (from_ && *from_ == image_) {
    std::memcpy(pixels.data(), fetched.data(), pixels.size());
  } else if (from_) {
    const auto image = fit(to_rgb(fetched, *from_), image_.height, image_.width, resize_);
    const auto step = static_cast<std::size_t>(3 / image_.channels);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = image.pixels[i * step];
  } else if (fixed_size_) {
    thread_local ImagePart scratch;
    const Region all{0, 0, image_.height, image_.width};
    const auto view = decode_to_shape(fetched, image_, resize_, all, scratch);
    std::memcpy(pixels.data(), view.pixels, pixels.size());
  } else {
    const auto image = decode_image(fetched);
    require(image.height == image_.height && image.width == image_.width,
            "it has {}x{} pixels (expected {}x{}, as the first image). Use --image-size?", image.height, image.width,
            image_.height, image_.width);
    const auto step = static_cast<std::size_t>(3 / image_.channels);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = image.pixels[i * step];
  }
}

StoredSample Conversion::operator()(std::int64_t index, std::vector<std::uint8_t>& stored) const {
  thread_local std::vector<std::byte> fetched;
  thread_local std::vector<std::uint8_t> decoded;
  source_.fetch(index, fetched);
  const bool raw = layout_ == Layout::raw;
  auto& pixels = raw ? stored : decoded;
  to_pixels(fetched, pixels);
  if (!raw && quality_ > 0) {
    encode_jpeg(pixels, image_, quality_, stored);
  } else if (!raw && from_) {
    encode_png(pixels, image_, stored);
  } else if (!raw) {
    stored.resize(fetched.size());
    std::memcpy(stored.data(), fetched.data(), fetched.size());
  }
  return {.bytes = stored.size(),
          .checksum = crc32c(std::as_bytes(std::span(stored))),
          .sums = channel_sums(pixels, image_.channels)};
}

ImageShape image_of(const Sources& sources, const IngestOptions& options) {
  require(!sources.empty(), "there is nothing to ingest");
  const bool has_train = sources.contains("train");
  const auto& [name, leader] = has_train ? *sources.find("train") : *sources.begin();
  const auto pixels = leader->pixels();
  for (const auto& [other, source] : sources)
    require(source->pixels() == pixels && source->channels() == leader->channels() &&
                source->classes() == leader->classes(),
            "split '{}' has other classes or another image size than split '{}'", other, name);
  const std::int64_t side = options.image_size;
  if (side > 0) return {side, side, leader->channels()};
  if (pixels) return *pixels;
  const auto shape = first_shape(*leader);
  require(shape.has_value(), "none of the {} images of split '{}' decodes", leader->samples(), name);
  return *shape;
}

}  // namespace brigade::dataset
