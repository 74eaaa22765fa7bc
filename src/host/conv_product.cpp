#include "conv_product.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "block_tables.hpp"
#include "ceil_div.hpp"
#include "gradient_through.hpp"
#include "moments.hpp"
#include "parallel.hpp"
#include "shared_gradient.hpp"
#include "tile_kernel.hpp"

namespace brigade::host {
namespace {

// Output pixels of a block: their rows of A (and C) stay in the second-level cache while panels and K-blocks pass. A
// map of 14 x 14 is one block: its weights, often larger than that cache, are read once.
constexpr std::int64_t kBlockPixels = 200;
// k steps of a K-block: at 4 registers a step, 1024 steps are 256 KiB.
constexpr std::int64_t kBlockSteps = 1024;
constexpr std::int64_t kLine = 16;  // floats of a cache line
// Outputs above this size do not fit into the last cache anyway: stored past it.
constexpr std::int64_t kStreamingBytes = 24 << 20;

// The parts whose moments (or gradient sums) are measured: groups of tiles, given by the shape alone. A part costs as
// much memory as three rows of the output.
class MeasuredParts {
 public:
  static constexpr std::int64_t kMaxTiles = 16;
  MeasuredParts(std::int64_t tiles, std::int64_t tile_rows, std::int64_t pixels)
      : tiles_(std::clamp<std::int64_t>(tiles / 64, 1, kMaxTiles)), rows_(tiles_ * tile_rows), pixels_(pixels) {}

  std::int64_t tiles() const { return tiles_; }  // of a part
  std::int64_t count() const { return ceil_div(pixels_, rows_); }
  std::int64_t rows(std::int64_t part) const { return std::min(rows_, pixels_ - part * rows_); }

 private:
  std::int64_t tiles_, rows_, pixels_;
};

// How the work is dealt to threads: a grid of pixel blocks and panel groups.
struct Split {
  std::int64_t block_tiles = 1, blocks = 1;
  std::int64_t group_panels = 1, groups = 1;
};

// Few pixels (dense layers, batches of one) are split over panels too. The part that ends last decides the time, so
// the grid with the smallest sum of parts per thread wins; of equal ones that with the fewest groups, which reads
// every pixel the fewest times. Blocks are cut at multiples of `grain` tiles.
Split split(std::int64_t tiles, std::int64_t tile_rows, std::int64_t panels, std::int64_t grain) {
  const std::int64_t n_threads = threads();
  Split best;
  std::int64_t best_cost = -1;
  for (std::int64_t groups = 1; groups <= std::min(panels, n_threads); ++groups) {
    Split s;
    s.group_panels = ceil_div(panels, groups);
    s.groups = ceil_div(panels, s.group_panels);
    const std::int64_t at_least = ceil_div(tiles, kBlockPixels / tile_rows);
    const std::int64_t rounds = ceil_div(std::max(at_least, ceil_div(n_threads, s.groups)) * s.groups, n_threads);
    s.block_tiles = ceil_div(ceil_div(tiles, std::max<std::int64_t>(1, rounds * n_threads / s.groups)), grain) * grain;
    s.blocks = ceil_div(tiles, s.block_tiles);
    const std::int64_t cost = ceil_div(s.blocks * s.groups, n_threads) * s.block_tiles * s.group_panels;
    if (best_cost < 0 || cost < best_cost) best = s, best_cost = cost;
  }
  return best;
}

// The K-blocks: whole taps as long as one has no more than kBlockSteps channels, else parts of one tap.
struct KBlocks {
  explicit KBlocks(const Product& p) : taps(static_cast<int>(p.taps.size())), channels(p.channels) {
    if (taps > 0 && p.channels <= kBlockSteps) {
      const std::int64_t blocks = ceil_div(taps * p.channels, kBlockSteps);
      taps = static_cast<int>(ceil_div(taps, blocks));
    } else if (taps > 0) {
      taps = 1;
      channels = ceil_div(ceil_div(p.channels, ceil_div(p.channels, kBlockSteps)), 8) * 8;
    }
  }
  int taps;
  std::int64_t channels;
};

bool can_stream(const Product& p, const KBlocks& k) {
  const bool one_block = k.taps == static_cast<int>(p.taps.size()) && k.channels == p.channels;
  const bool aligned = p.narrow_out.data == nullptr && !p.finishes() && p.columns % kLanes == 0 &&
                       p.out.pixel % kLanes == 0 && reinterpret_cast<std::uintptr_t>(p.out.data) % 64 == 0;
  return one_block && aligned && p.pixels() * p.columns * 4 > kStreamingBytes;
}

// One K-block of one panel over all tiles of a block.
struct PanelPass {
  std::int64_t panel = 0;
  int first_tap, last_tap;
  std::int64_t first_channel, n_channels;
  bool first, last;         // of the K-blocks
  bool first_panel = true;  // of the group
  bool streaming;
  std::span<const float> weights_soon = {};  // of the next panel: wanted in the second-level cache by then
};

// What a pass multiplies, of another panel; nothing if it does not lie in one piece.
std::span<const float> weights_of(const Product& p, const PanelPass& pass, std::int64_t panel) {
  if (!p.weights.in_pieces()) return {};
  const std::int64_t step = p.weights.channel_step(panel), taps = pass.last_tap - pass.first_tap;
  return {p.weights.panel(panel) + pass.first_tap * p.weights.tap_step(panel) + pass.first_channel * step,
          static_cast<std::size_t>(taps * pass.n_channels * step)};
}

// What is summed over the pixels of one block: at most moments or gradients.
struct BlockSums {
  MomentsTable moments;
  std::array<GradientSumsTable, 2> gradients;  // of two batch norms only for a shared gradient
  std::int64_t first_part = 0, part_tiles = 1;
};

// What the tiles of a pass ask for, a line at most in each k step.
//   pixels    A lone tap reads every pixel once, too fast for the hardware's prefetchers: the first panel asks for the
//             pixels of the tiles after the next, which begin at the first row's origin and follow one another; where a
//             block is normalised before its tiles, of those in the next block.
//   weights   of the next panel, which are often read from memory: in equal shares by all tiles, or by every other one
//             where pixels are asked for, too.
class Prefetches {
 public:
  Prefetches(const Product& p, const PanelPass& pass, const BlockTables& tables, int tile_rows)
      : tables_(tables),
        pixels_(p.taps.size() == 1 && pass.first_panel && pass.n_channels == p.channels && p.made_in == nullptr),
        next_block_(p.of_in ? tables.tiles() * tile_rows * p.stride_x * p.in.pixel : 0),
        weights_(pass.weights_soon),
        steps_((pass.last_tap - pass.first_tap) * pass.n_channels) {
    const std::int64_t turns = pixels_ && !weights_.empty() ? 2 : 1, tiles = std::max(1, tables.tiles()) / turns;
    if (pixels_) pixels_step_ = std::min(kLine, ceil_div(turns * tile_rows * p.stride_x * p.in.pixel, steps_));
    if (!weights_.empty() && tiles > 0)
      weights_step_ = std::min(kLine, ceil_div(static_cast<std::int64_t>(weights_.size()), tiles * steps_));
  }

  void choose(int tile, TileArgs& args) {
    args.prefetch = nullptr;
    if (pixels_ && (weights_.empty() || tile % 2 == 0)) {
      args.prefetch = next_block_ > 0 ? tables_.origin(tile) + next_block_
                                      : tables_.origin(std::min(tile + 2, tables_.tiles() - 1));
      args.prefetch_step = pixels_step_;
    } else if (!weights_.empty()) {
      args.prefetch = weights_.data();
      args.prefetch_step = weights_step_;
      weights_ = weights_.subspan(std::min(weights_.size(), static_cast<std::size_t>(steps_ * weights_step_)));
    }
  }

 private:
  const BlockTables& tables_;
  bool pixels_;
  std::int64_t next_block_;         // its distance; 0: this one's pixels are fetched
  std::span<const float> weights_;  // not asked for so far
  std::int64_t steps_, pixels_step_ = 0, weights_step_ = 0;
};

void multiply_panel(const Product& p, const BlockTables& tables, const BlockSums& sums, int tile_rows,
                    const PanelPass& pass) {
  const Panels& panels = p.weights.panels();
  TileArgs args;
  args.first_channel = p.of_in ? 0 : pass.first_channel;
  args.n_channels = static_cast<int>(pass.n_channels);
  args.b_channel_step = p.weights.channel_step(pass.panel);
  args.b_tap_step = p.weights.tap_step(pass.panel);
  args.b = p.weights.panel(pass.panel) + pass.first_channel * args.b_channel_step;
  args.first_column = panels.first_column(pass.panel);
  args.last_lanes = panels.last_lanes(pass.panel);
  args.accumulate = !pass.first;
  args.bias = p.bias == nullptr ? nullptr : p.bias + args.first_column;
  if (pass.last) args.activation = p.activation;

  const int vectors = panels.vectors(pass.panel);
  const TileKernel by_offset = tile_kernel(p.factors, RowKind::by_offset, tile_rows, vectors);
  const TileKernel by_pointer = tile_kernel(p.factors, RowKind::by_pointer, tile_rows, vectors);
  Prefetches prefetches(p, pass, tables, tile_rows);
  const bool measure = sums.moments && pass.last;
  for (int tile = 0; tile < tables.tiles(); ++tile) {
    const bool any = tables.select(tile, pass.first_tap, pass.last_tap, args);
    const bool rounds = p.narrow_out.data != nullptr && !p.finishes() && pass.last;
    if (!any && args.accumulate && args.activation == ops::Activation::none && !measure && !rounds) continue;
    args.narrow_out = rounds ? tables.narrow_out(tile) : nullptr;
    if (measure) {
      args.moments = sums.moments.part(sums.first_part + tile / sums.part_tiles, args.first_column);
      args.begins_moments = tile % sums.part_tiles == 0;
      args.measured_rows = tables.rows(tile);
    }
    args.streaming = pass.streaming && tables.full(tile);
    prefetches.choose(tile, args);
    (tables.kind(tile) == RowKind::by_offset ? by_offset : by_pointer)(args);
  }
}

// Channels of the pixels of `in` that a block reads.
void make_pixels(const Product& p, const BlockTables& tables, std::int64_t first, std::int64_t channels) {
  const std::int64_t of_a_step = p.factors == Factors::floats ? 1 : 2;  // channels
  p.made_in->make(tables.pixels(), of_a_step * first, of_a_step * channels);
}

// Rows of a tensor shaped as a product's output, by the rows of a block.
template <class T>
struct PixelRows {
  T* data;
  std::int64_t pitch;
  const BlockTables& tables;
  std::int64_t first_row;
  T* operator()(std::int64_t r) const { return data + tables.pixel(first_row + r) * pitch; }
};

// The columns [first, end) of a block, from its own memory through the batch norm.
template <class T>
void take_block_through(const Product& p, const Images<T>& dx, const BlockTables& tables, const BlockSums& sums,
                        int tile_rows, std::int64_t first, std::int64_t end) {
  const T* x = p.through->x.as<T>();
  for (int tile = 0; tile < tables.tiles(); tile += static_cast<int>(sums.part_tiles)) {
    const std::int64_t row = static_cast<std::int64_t>(tile) * tile_rows;
    with_activation(p.of_through.activation, [&](auto activation) {
      take_through<activation()>([&](std::int64_t r) { return tables.sums(row + r) + first; },
                                 PixelRows<const T>{x + first, p.through->x.pitch, tables, row},
                                 PixelRows<T>{dx.data + first, dx.pixel, tables, row},
                                 tables.rows(tile, sums.part_tiles), end - first, p.of_through.from(first),
                                 p.through->add, FirstRows::yes,
                                 sums.gradients[0].part(sums.first_part + tile / sums.part_tiles, first));
    });
  }
}

// Rows of a tensor shaped as a shared gradient, by what a block finishes of it.
template <class T>
struct FinishedRows {
  T* data;
  std::int64_t pitch;
  const BlockTables& tables;
  std::int64_t first_row;
  T* operator()(std::int64_t r) const { return data + tables.finished(first_row + r).pixel * pitch; }
};

// The same for a shared gradient with kNorms batch norms.
template <std::size_t kNorms, class T>
void finish_block_shared(const Product& p, const Images<T>& dx, const BlockTables& tables, const BlockSums& sums,
                         std::int64_t first, std::int64_t end) {
  const ops::SharedGradient& shared = *p.shared;
  std::int64_t row = 0;
  for (int tile = 0; tile < tables.tiles(); tile += static_cast<int>(sums.part_tiles)) {
    const int last_tile = std::min(tables.tiles(), tile + static_cast<int>(sums.part_tiles)) - 1;
    const auto rows_of = [&](const ConstTensorView& x) {
      return FinishedRows<const T>{x.as<T>() + first, x.pitch, tables, row};
    };
    const auto norm = [&](std::size_t i) {
      return SharedNorm<FinishedRows<const T>>{rows_of(shared.norms[i].z), shared.norms[i].mean.f32() + first,
                                               sums.gradients[i].part(sums.first_part + tile / sums.part_tiles, first)};
    };
    const auto norms = [&]<std::size_t... kI>(std::index_sequence<kI...>) {
      return std::array<SharedNorm<FinishedRows<const T>>, kNorms>{norm(kI)...};
    }
    (std::make_index_sequence<kNorms>());
    with_activation(shared.activation, [&](auto activation) {
      finish_shared<activation()>([&](std::int64_t r) { return tables.finished(row + r).own + first; },
                                  rows_of(p.shared_x), FinishedRows<T>{dx.data + first, p.shared_pitch, tables, row},
                                  tables.end_of_finished(last_tile) - row, end - first, shared.add, norms);
    });
    row = tables.end_of_finished(last_tile);
  }
}

template <class T>
void finish_block(const Product& p, const Images<T>& dx, const BlockTables& tables, const BlockSums& sums,
                  int tile_rows, std::int64_t first, std::int64_t end) {
  if (p.through != nullptr) return take_block_through(p, dx, tables, sums, tile_rows, first, end);
  switch (p.gradient_sums()) {
    case 0: return finish_block_shared<0>(p, dx, tables, sums, first, end);
    case 1: return finish_block_shared<1>(p, dx, tables, sums, first, end);
    default: return finish_block_shared<2>(p, dx, tables, sums, first, end);
  }
}

// What the sums of all parts give.
void finish_gradients(const Product& p, const BlockSums& sums, std::int64_t parts) {
  const auto width_of = [&](std::int64_t) { return p.columns; };
  if (p.through != nullptr) return finish_through(*p.through, sums.gradients[0], parts, width_of);
  for (std::size_t i = 0; i < p.gradient_sums(); ++i) {
    const ops::SharedGradient::Norm& norm = p.shared->norms[i];
    combine_gradients(sums.gradients[i], parts, width_of, p.columns, norm.variance.f32(), norm.epsilon,
                      norm.dgamma.f32(), norm.dbeta.f32());
  }
}

}  // namespace

void multiply(HostBackend& backend, const Product& p) {
  if (p.pixels() == 0) return;
  const ProductPlan plan(p, backend.scratch(Scratch::zeros, std::max(p.channels, p.columns)));
  const Panels& panels = p.weights.panels();
  const std::int64_t tiles = ceil_div(p.pixels(), plan.tile_rows);
  const MeasuredParts measured(tiles, plan.tile_rows, p.pixels());
  const std::int64_t width = panels.padded_columns();
  const auto table = [&](std::int64_t floats) { return backend.scratch(Scratch::partial_sums, floats); };
  BlockSums sums;
  if (p.mean != nullptr) sums.moments = {table(MomentsTable::size(measured.count(), width)), width};
  const std::int64_t gradients = GradientSumsTable::size(measured.count(), width);
  if (const std::size_t count = p.gradient_sums(); count > 0) {
    float* memory = table(static_cast<std::int64_t>(count) * gradients);
    for (std::size_t i = 0; i < count; ++i)
      sums.gradients[i] = {memory + static_cast<std::int64_t>(i) * gradients, width};
  }
  if (sums.moments || p.finishes()) sums.part_tiles = measured.tiles();
  const Split parts = split(tiles, plan.tile_rows, panels.count(), sums.part_tiles);
  const KBlocks k(p);
  const bool streaming = can_stream(p, k);
  const int n_taps = static_cast<int>(p.taps.size());

  const auto fill = [&](BlockTables& tables, std::int64_t block) {
    const std::int64_t first_pixel = block * parts.block_tiles * plan.tile_rows;
    tables.fill(plan, first_pixel, std::min(parts.block_tiles * plan.tile_rows, p.pixels() - first_pixel));
  };
  // A block that several parts read is made for all of them beforehand.
  const bool made_by_parts = p.made_in != nullptr && parts.groups == 1;
  if (p.made_in != nullptr && !made_by_parts)
    for_each_part(parts.blocks, [&](std::int64_t block) {
      thread_local BlockTables tables;
      fill(tables, block);
      make_pixels(p, tables, 0, p.channels);
    });

  for_each_part(parts.blocks * parts.groups, [&](std::int64_t part) {
    thread_local BlockTables tables;
    const std::int64_t group = part / parts.blocks, block = part % parts.blocks;
    fill(tables, block);
    BlockSums block_sums = sums;
    block_sums.first_part = block * parts.block_tiles / sums.part_tiles;
    const std::int64_t first_panel = group * parts.group_panels;
    const std::int64_t end_panel = std::min(panels.count(), first_panel + parts.group_panels);
    int tap = 0;
    do {  // at least once: a sum over no taps is zero, and must be written
      const int last_tap = std::min(tap + k.taps, n_taps);
      for (std::int64_t channel = 0; channel < p.channels; channel += k.channels) {
        const std::int64_t n_channels = std::min(k.channels, p.channels - channel);
        if (made_by_parts && tap == 0) make_pixels(p, tables, channel, n_channels);
        if (p.of_in) tables.normalise(p.factors, p.of_in, channel, n_channels);
        PanelPass pass{.first_tap = tap,
                       .last_tap = last_tap,
                       .first_channel = channel,
                       .n_channels = n_channels,
                       .first = tap == 0 && channel == 0,
                       .last = last_tap == n_taps && channel + n_channels == p.channels,
                       .streaming = streaming};
        for (pass.panel = first_panel; pass.panel < end_panel; ++pass.panel) {
          pass.first_panel = pass.panel == first_panel;
          const bool last_panel = pass.panel + 1 == end_panel;
          pass.weights_soon = last_panel ? std::span<const float>() : weights_of(p, pass, pass.panel + 1);
          multiply_panel(p, tables, block_sums, plan.tile_rows, pass);
        }
      }
      tap += k.taps;
    } while (tap < n_taps);
    if (streaming) finish_streaming();
    if (!p.finishes()) return;
    const std::int64_t first = panels.first_column(first_panel);
    const std::int64_t end = end_panel == panels.count() ? p.columns : panels.first_column(end_panel);
    if (p.narrow_out.data != nullptr)
      finish_block(p, p.narrow_out, tables, block_sums, plan.tile_rows, first, end);
    else
      finish_block(p, p.out, tables, block_sums, plan.tile_rows, first, end);
  });
  if (p.finishes()) finish_gradients(p, sums, measured.count());
  if (p.mean != nullptr)
    combine_moments(
        sums.moments, measured.count(),
        [&](std::int64_t i) {
          return MomentsPart{measured.rows(i), p.columns};
        },
        p.columns, p.pixels(), p.mean, p.variance);
}

bool whole_pairs(const Images<const Bf16>& x, std::int64_t channels) {
  return channels % 2 == 0 && x.pixel % 2 == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 4 == 0;
}

Images<const float> in_pairs(HostBackend& backend, const Images<const Bf16>& x, const Shape& shape,
                             const Normaliser& of_x) {
  const std::int64_t channels = shape.back(), pixels = shape.size() / std::max<std::int64_t>(1, channels);
  if (whole_pairs(x, channels)) return halved(x);
  const std::int64_t pixel = 2 * pairs(channels);
  Bf16* copy = backend.scratch<Bf16>(Scratch::packed_input, pixels * pixel);
  constexpr std::int64_t kPixels = 256;
  for_each_part(ceil_div(pixels, kPixels), [&](std::int64_t part) {
    const std::int64_t first = part * kPixels, count = std::min(pixels - first, kPixels);
    for (std::int64_t p = first; p < first + count; ++p) {
      Bf16* end = std::copy_n(x.data + p * x.pixel, channels, copy + p * pixel);
      std::fill_n(end, pixel - channels, Bf16(0.0F));
    }
    if (of_x)
      with_activation(of_x.activation, [&](auto activation) {
        normalise_rows<activation()>([&](std::int64_t r) { return x.data + (first + r) * x.pixel; }, count, channels,
                                     of_x, copy + first * pixel, pixel);
      });
  });
  return halved({copy, x.height, x.width, x.height * x.width * pixel, x.width * pixel, pixel});
}

}  // namespace brigade::host
