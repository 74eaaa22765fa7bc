// How a matrix of weights lies in memory for the kernels.
//
// A convolution's weights are, for each tap, a matrix [channels][columns] (k runs over channels, the output channels
// are the columns). A kernel keeps a few registers' width of columns at a time: a *panel*. Panels are balanced (7
// registers make 4 + 3, never 6 + 1), because a narrow panel has too few accumulators to hide the latency of an FMA.
//
// The rows of A are cut into tiles, whose last one may have rows to spare. That matters where there are few: the 49
// pixels of a last map are 9 tiles of 6 x 4 registers, which compute 54 rows, but exactly 7 tiles of 7 x 3. So the
// number of rows has a say in how wide panels are, and how high tiles.
//
// Packed, the panels follow each other, each [tap][channel][its columns], padded with zero columns to whole registers:
// the kernel reads it in one stream. A single panel of whole registers is packed as it stands at the door.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "pairs.hpp"

namespace brigade::host {

// Widest panel and, for each width, the rows of a tile: as many accumulators as the registers hold beside one row of
// weights and one broadcast value, and at least 10, so that two FMAs a cycle never wait for their own results.
inline constexpr int kMaxVectors = kRegisters == 32 ? 4 : 2;
constexpr int tile_rows(int vectors) {
  if constexpr (kRegisters == 32) {
    constexpr int kRows[] = {0, 14, 12, 8, 6};
    return kRows[vectors];
  } else {
    return vectors == 2 ? 6 : 12;
  }
}

// Tiles of panels of up to kLowVectors may be as low as this.
inline constexpr int kLowRows = 7, kLowVectors = 3;

// Whether tiles of kLowRows compute so much fewer rows than tiles of `high` that narrow ones are no slower.
constexpr bool pays_low(std::int64_t rows, int high) {
  const auto computed = [&](std::int64_t tile) { return (rows + tile - 1) / tile * tile; };
  return kRegisters == 32 && 100 * computed(kLowRows) < 97 * computed(high);
}
// The widest panel for products of this many rows.
constexpr int widest_panel(std::int64_t rows) {
  return pays_low(rows, tile_rows(kMaxVectors)) ? kLowVectors : kMaxVectors;
}
// The height of tiles for a product of so many rows, whose widest panel has `vectors`.
constexpr int tile_rows(int vectors, std::int64_t rows) {
  if (rows == 1) return 1;  // a dense layer's only image: reading weights is all that takes time
  const int high = tile_rows(vectors);
  return (vectors == 2 || vectors == kLowVectors) && pays_low(rows, high) ? kLowRows : high;
}

class Panels {
 public:
  Panels() = default;
  explicit Panels(std::int64_t columns, int widest = kMaxVectors)
      : columns_(columns), vectors_((columns + kLanes - 1) / kLanes), count_((vectors_ + widest - 1) / widest) {}

  std::int64_t count() const { return count_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t padded_columns() const { return vectors_ * kLanes; }
  int vectors(std::int64_t panel) const {
    return static_cast<int>(vectors_ / count_ + (panel < vectors_ % count_ ? 1 : 0));
  }
  int max_vectors() const { return vectors(0); }
  std::int64_t first_column(std::int64_t panel) const {
    return (panel * (vectors_ / count_) + std::min(panel, vectors_ % count_)) * kLanes;
  }
  // Lanes of the panel's last register that are columns.
  int last_lanes(std::int64_t panel) const {
    return panel == count_ - 1 ? static_cast<int>(columns_ - (vectors_ - 1) * kLanes) : kLanes;
  }
  // Columns of the panel.
  std::int64_t width(std::int64_t panel) const { return (vectors(panel) - 1) * kLanes + last_lanes(panel); }

 private:
  std::int64_t columns_ = 0, vectors_ = 0, count_ = 0;
};

// Where panel p of the weights begins, and its distances in floats between channels and between taps.
class Weights {
 public:
  Weights() = default;
  static std::int64_t packed_size(std::int64_t taps, std::int64_t channels, std::int64_t columns) {
    return taps * channels * Panels(columns).padded_columns();
  }
  // [taps][channels][columns] as it stands; columns must fill whole registers.
  static Weights in_place(const float* data, std::int64_t channels, const Panels& panels) {
    return {data, 0, channels, panels};
  }
  static Weights packed(const float* data, std::int64_t taps, std::int64_t channels, const Panels& panels) {
    return {data, taps, channels, panels};
  }
  // Pairs of channels, each a row of `halves` times the panel's registers.
  static Weights packed_pairs(const float* data, std::int64_t taps, std::int64_t pairs, const Panels& panels) {
    return {data, taps, pairs, panels, kPairHalves};
  }

  const Panels& panels() const { return panels_; }
  // Whether each panel is one piece of memory.
  bool in_pieces() const { return packed_taps_ > 0; }
  const float* panel(std::int64_t p) const {
    return data_ + panels_.first_column(p) * (packed_taps_ == 0 ? 1 : packed_taps_ * channels_ * halves_);
  }
  std::int64_t channel_step(std::int64_t p) const {
    return packed_taps_ == 0 ? panels_.columns() : halves_ * panels_.vectors(p) * kLanes;
  }
  std::int64_t tap_step(std::int64_t p) const { return channels_ * channel_step(p); }

 private:
  Weights(const float* data, std::int64_t packed_taps, std::int64_t channels, const Panels& panels, int halves = 1)
      : data_(data), packed_taps_(packed_taps), channels_(channels), panels_(panels), halves_(halves) {}
  const float* data_ = nullptr;
  std::int64_t packed_taps_ = 0;  // 0: in place
  std::int64_t channels_ = 0;
  Panels panels_;
  int halves_ = 1;
};

// Packs w[tap][channel][column] (all taps).
Weights pack(const float* w, std::int64_t taps, std::int64_t channels, const Panels& panels, float* packed);

// Packs the transposes of w[tap][column][channel] for the chosen taps, in their order.
Weights pack_transposed(const float* w, std::span<const std::int32_t> taps, std::int64_t channels, std::int64_t columns,
                        float* packed);

// Numbers of bf16 that make whole pairs.
constexpr std::int64_t pairs(std::int64_t channels) { return (channels + 1) / 2; }

// The same in bf16: a last channel without a partner is paired with zeros. `packed` takes
// packed_size(taps, pairs, columns) * kPairHalves floats.
// A tap may consist of several pixels, whose channels are paired each by itself: w[tap][pixel][channel][column].
Weights pack_pairs(const float* w, std::int64_t taps, std::int64_t pixels, std::int64_t channels, const Panels& panels,
                   float* packed);
Weights pack_pairs_transposed(const float* w, std::span<const std::int32_t> taps, std::int64_t channels,
                              std::int64_t columns, float* packed);

}  // namespace brigade::host
