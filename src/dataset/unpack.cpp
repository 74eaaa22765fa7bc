#include "unpack.hpp"

#include <algorithm>
#include <cstring>

#include "brigade/core/error.hpp"
#include "resize.hpp"
#include "stage_clock.hpp"

namespace brigade::dataset {
namespace {

// The bytes of the sample after the i-th of a batch; none after the last.
std::span<const std::byte> after(const StoredSamples& stored, std::size_t i) {
  return i + 1 < stored.bytes.size() ? stored.bytes[i + 1] : std::span<const std::byte>{};
}

}  // namespace

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

std::span<const std::byte> SplitReader::take(const StoredSamples& stored, std::size_t i) {
  verify(stored.indices[i], stored.bytes[i], after(stored, i));
  return stored.bytes[i];
}

void SplitReader::copy_verified(std::int64_t index, std::span<const std::byte> bytes, std::span<const std::byte> next,
                                std::byte* target) {
  verify(index, bytes, next);
  std::memcpy(target, bytes.data(), bytes.size());
}

void SplitReader::read(std::span<const std::int64_t> indices, std::uint8_t* pixels, std::int32_t* labels) {
  const bool decodes = format().layout == Layout::encoded;
  StageClock clock(decodes);
  ReadWork now;
  clock.begin(0);
  fetch(indices, stored_);
  clock.end(now.read_s);
  const auto bytes = static_cast<std::size_t>(image().size());
  const Region all{0, 0, image().height, image().width};
  ImagePart scratch;
  for (std::size_t i = 0; i < indices.size(); ++i, pixels += bytes) {
    work_.stored_bytes += static_cast<std::int64_t>(stored_.bytes[i].size());
    if (!decodes) {
      copy_verified(indices[i], stored_.bytes[i], after(stored_, i), reinterpret_cast<std::byte*>(pixels));
      continue;
    }
    clock.begin(i);
    const auto stored = take(stored_, i);
    clock.end(now.read_s);
    std::memcpy(pixels, unpack(*this, indices[i], stored, all, scratch).pixels, bytes);
    clock.end(now.decode_s);
  }
  std::copy(stored_.labels.begin(), stored_.labels.end(), labels);
  clock.finish(now.read_s, now.decode_s);
  work_.read_s += now.read_s;
  work_.decode_s += now.decode_s;
}

}  // namespace brigade::dataset
