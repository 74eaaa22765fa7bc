// Where the rows of a block of tiles lie in memory: the pointers that make an implicit product of a convolution.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "brigade/core/memory.hpp"
#include "conv_product.hpp"
#include "tile_kernel.hpp"

namespace brigade::host {

// Floats between rows of `n`: an odd number of cache lines, or the rows of a tile could fall into the same few sets.
constexpr std::int64_t spread_pitch(std::int64_t n) { return (((n + 15) / 16) | 1) * 16; }

// Numbers a product's output pixels: [n][y][x], or [y][x][n].
class PixelCursor {
 public:
  PixelCursor(const Product& product, bool images_innermost, std::int64_t pixel);
  // Pixels from here on that lie at a constant distance: the rest of a row, or the rest of the images.
  std::int64_t run() const;
  // By no more than run().
  void advance(std::int64_t pixels);
  std::int64_t n = 0, y = 0, x = 0;

 private:
  std::int64_t images_, height_, width_;
  bool images_innermost_;
};

// What holds for every block of a product.
struct ProductPlan {
  ProductPlan(const Product& product, const float* zeros);

  const Product& product;
  const float* zeros;  // [channels or columns]
  int tile_rows;
  bool images_innermost;
  bool even;  // row r of A lies r * in.pixel from row 0, and row r of C r * out.pixel: as for most 1 x 1 kernels
  // Output pixels whose taps all lie inside of `in`: y and x in [low, high) (in input coordinates).
  std::int64_t low_y, high_y, low_x, high_x;
};

// Tables of one block; memory is kept from block to block.
class BlockTables {
 public:
  void fill(const ProductPlan& plan, std::int64_t first_pixel, std::int64_t pixels);

  // From here on A's rows are the normalised channels [first, first + channels) of the pixels, in memory of the block:
  // column 0 is the first of these (channels are counted in pairs if the factors are). For a product of one tap that
  // never leaves the image.
  void normalise(Factors factors, const Normaliser& by, std::int64_t first, std::int64_t channels);

  int tiles() const { return tiles_; }
  // Sets A's rows for the taps in [first_tap, last_tap), and C's rows of a tile. False if no tap is left of these.
  bool select(int tile, int first_tap, int last_tap, TileArgs& args) const {
    const std::int64_t row = static_cast<std::int64_t>(tile) * tile_rows_;
    args.out = out_.data() + row;
    if (kind(tile) == RowKind::by_pointer) return select_pointers(tile, first_tap, last_tap, args);
    args.rows = normalised_ ? normalised_rows_.data() + row : rows_.data() + row * all_taps_;
    args.offsets = offsets_.data() + first_tap;
    args.taps = nullptr;
    args.first_tap = first_tap;
    args.n_taps = last_tap - first_tap;
    return args.n_taps > 0;
  }
  RowKind kind(int tile) const { return tile_[static_cast<std::size_t>(tile)].kind; }
  // Where a tile by offset begins to read.
  const float* origin(int tile) const {
    return rows_[static_cast<std::size_t>(tile) * static_cast<std::size_t>(all_taps_ * tile_rows_)];
  }
  // Where a product that stores bf16 does so; the rows of select() are then sums of the block's own.
  Bf16* const* narrow_out(int tile) const { return narrow_out_.data() + static_cast<std::int64_t>(tile) * tile_rows_; }
  // Of a product whose sums are finished later: the sums of a row. Of such a one, or one whose input is made: which
  // pixel (n * height + y) * width + x a row is, and all of the block.
  const float* sums(std::int64_t row) const { return sums_.data() + row * sums_pitch_; }
  std::int64_t pixel(std::int64_t row) const { return pixel_[static_cast<std::size_t>(row)]; }
  std::span<const std::int64_t> pixels() const { return {pixel_.data(), static_cast<std::size_t>(pixels_)}; }
  // Of a product that finishes a shared gradient: which pixels of that a tile and those before it finish.
  std::int64_t end_of_finished(int tile) const { return finished_end_[static_cast<std::size_t>(tile)]; }
  struct Finished {
    std::int64_t pixel;  // of the gradient
    const float* own;    // the product's share
  };
  const Finished& finished(std::int64_t i) const { return finished_[static_cast<std::size_t>(i)]; }
  // The rows of a tile that are pixels; those beyond the last pixel write into a dummy row.
  int rows(int tile) const {
    return static_cast<int>(std::min<std::int64_t>(tile_rows_, pixels_ - static_cast<std::int64_t>(tile) * tile_rows_));
  }
  // The pixels in `tiles` tiles from one on.
  std::int64_t rows(int tile, std::int64_t tiles) const {
    return std::min(tiles * tile_rows_, pixels_ - static_cast<std::int64_t>(tile) * tile_rows_);
  }
  bool full(int tile) const { return rows(tile) == tile_rows_; }

 private:
  struct Tile {
    RowKind kind;
    int n_taps;  // by_pointer: those that are not all zeros
  };
  bool select_pointers(int tile, int first_tap, int last_tap, TileArgs& args) const;
  void list_finished(const ProductPlan& plan, std::int64_t first_pixel);
  void fill_evenly(const Product& product, std::int64_t first_pixel);
  void add_pointers(const ProductPlan& plan, int tile, const std::int64_t* y, const std::int64_t* x);

  int tiles_ = 0, tile_rows_ = 0, all_taps_ = 0;
  std::int64_t pixels_ = 0;
  std::vector<Tile> tile_;
  std::vector<const float*> rows_;     // [tile][tap][row]; by_offset uses [tile][row] of it
  std::vector<std::int32_t> taps_;     // [tile][n_taps]
  std::vector<float*> out_;            // [tile][row]
  std::vector<std::int64_t> offsets_;  // [tap]
  std::vector<float> dummy_;           // [columns]
  bool normalised_ = false;
  Buffer normalised_x_;                        // [pixel][channels and a gap]
  std::vector<const float*> normalised_rows_;  // [tile][row]
  std::vector<Bf16*> narrow_out_;              // [tile][row], if the output is bf16
  std::vector<Bf16> narrow_dummy_;             // [columns]
  std::int64_t sums_pitch_ = 0;
  std::vector<float> sums_;  // [tile][row][columns and a gap], if out is not where the tiles store
  std::vector<Finished> finished_;
  std::vector<std::int64_t> finished_end_;  // [tile]
  std::vector<std::int64_t> pixel_;         // [tile][row], if somebody asks for them
};

}  // namespace brigade::host
