// What Winograd convolutions (winograd.hpp) and their gradient by the weights (winograd_gradient.hpp) share: the tiles
// that cover the images, the pixels of a tile, and what the transforms make of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ceil_div.hpp"
#include "conv_product.hpp"
#include "lanes.hpp"
#include "vector.hpp"

namespace brigade::host {

// Floats, as a whole and odd number of cache lines: what lies so far apart does not meet in the same few cache sets.
constexpr std::int64_t spread(std::int64_t floats) { return (ceil_div(floats, 16) | 1) * 16; }

// Tiles of m x m pixels that cover images, numbered [n][y][x]; the last ones may reach over the edges.
struct TileGrid {
  struct Corner {
    std::int64_t n, y, x;  // the first pixel
  };
  TileGrid(std::int64_t images, std::int64_t height, std::int64_t width, int tile)
      : m(tile), down(ceil_div(height, m)), across(ceil_div(width, m)), count(images * down * across) {}
  Corner at(std::int64_t tile) const { return {tile / (down * across), tile / across % down * m, tile % across * m}; }

  int m;
  std::int64_t down, across, count;
};

// Appends the pixels of the square from `first` on, row by row; zeros stand for those outside of the image.
template <class T>
void list_square(const Images<const T>& in, const TileGrid::Corner& first, int size, const T* zeros,
                 std::vector<const T*>& to) {
  for (std::int64_t y = first.y; y < first.y + size; ++y)
    for (std::int64_t x = first.x; x < first.x + size; ++x) {
      const bool inside = y >= 0 && y < in.height && x >= 0 && x < in.width;
      to.push_back(inside ? in.data + first.n * in.image + y * in.row + x * in.pixel : zeros);
    }
}

// Transforms the channels [first, first + channels) of squares of kFrom x kFrom pixels into squares of kTo x kTo
// values, whole registers place_step floats apart; to(tile, channel) is where a register's first goes, channels counted
// from `first`. transform(load, store) is one of Winograd2d's. The next tile's pixels are fetched meanwhile, without
// those that it shares with this one.
template <int kFrom, int kTo, class T, class Transform, class To>
void transform_squares(const T* const* pixels, std::int64_t tiles, std::int64_t first, std::int64_t channels,
                       const Transform& transform, const To& to, std::int64_t place_step) {
  constexpr int kShared = kFrom - (kTo - 2);
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const T* const* in = pixels + tile * kFrom * kFrom;
    const T* const* soon = pixels + std::min(tile + 1, tiles - 1) * kFrom * kFrom;
    over_lanes(channels, [&](std::int64_t channel, auto lanes) {
#pragma GCC unroll 36
      for (int y = 0; y < kFrom; ++y)
#pragma GCC unroll 36
        for (int x = kShared; x < kFrom; ++x) __builtin_prefetch(soon[y * kFrom + x] + first + channel, 0, 2);
      float* values = to(tile, channel);
      transform([&](int y, int x) { return lanes.load(in[y * kFrom + x] + first + channel); },
                [&](int y, int x, Vec value) { store(values + (y * kTo + x) * place_step, value); });
    });
  }
}

}  // namespace brigade::host
