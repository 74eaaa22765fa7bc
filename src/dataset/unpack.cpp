#include "unpack.hpp"

#include <algorithm>
#include <cstring>

#include "brigade/core/error.hpp"
#include "resize.hpp"

namespace brigade::dataset {

PictureView unpack(const SplitReader& reader, std::int64_t index, std::span<const std::byte> stored,
                   const Region& region, ImagePart& scratch) {
  const auto& [image, layout, resize] = reader.format();
  if (layout == Layout::raw)
    return {.pixels = reinterpret_cast<const std::uint8_t*>(stored.data()),
            .region = {0, 0, image.height, image.width},
            .line = image.width * image.channels,
            .channels = image.channels};
  try {
    return decode_to_shape(stored, image, resize, region, scratch);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{} does not decode ({})", reader.place(index), error.what()));
  }
}

void prefetch(std::span<const std::byte> stored) {
  constexpr std::size_t kMostBytes = 2048, kLineBytes = 64;
  for (std::size_t line = 0; line < std::min(stored.size(), kMostBytes); line += kLineBytes)
    __builtin_prefetch(stored.data() + line);
}

void SplitReader::read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels) {
  stored_.resize(indices.size());
  fetch(indices, stored_.data(), labels);
  const auto bytes = static_cast<std::size_t>(image().size());
  const Region all{0, 0, image().height, image().width};
  ImagePart scratch;
  for (std::size_t i = 0; i < indices.size(); ++i, pixels += bytes) {
    if (i + 1 < indices.size()) prefetch(stored_[i + 1]);
    std::memcpy(pixels, unpack(*this, indices[i], stored_[i], all, scratch).pixels, bytes);
  }
}

}  // namespace brigade::dataset
