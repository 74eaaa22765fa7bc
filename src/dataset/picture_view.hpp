// Part of a picture, in memory.
#pragma once

#include <cstdint>

namespace brigade::dataset {

// Pixels [top, top + height) x [left, left + width).
struct Region {
  std::int64_t top = 0, left = 0, height = 0, width = 0;
  std::int64_t bottom() const { return top + height; }
  std::int64_t right() const { return left + width; }
};

// The pixels of `region`, in grey levels; the others of the picture are not there.
struct PictureView {
  const std::uint8_t* pixels = nullptr;  // of the region's upper left corner
  Region region;
  std::int64_t line = 0;  // bytes from a row to the next
  std::int64_t channels = 3;

  const std::uint8_t* at(std::int64_t y, std::int64_t x) const {
    return pixels + (y - region.top) * line + (x - region.left) * channels;
  }
};

}  // namespace brigade::dataset
