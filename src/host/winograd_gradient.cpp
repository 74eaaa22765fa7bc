#include "winograd_gradient.hpp"

#include <algorithm>
#include <vector>

#include "ceil_div.hpp"
#include "gradient_kernel.hpp"
#include "lanes.hpp"
#include "parallel.hpp"
#include "slices.hpp"
#include "thread_memory.hpp"
#include "winograd_tiles.hpp"
#include "winograd_transform.hpp"

namespace brigade::host {
namespace {

using Transform = Winograd2d<4>;
constexpr int kTile = Transform::kOutputs, kSide = Transform::kPlaces, kPlaces = kSide * kSide;
constexpr std::int64_t kTaps = 9;

// Channels that lie together in V: a cache line, two or three tiles of S.
constexpr std::int64_t kGroup = 16;
// A block of 128 channels and 64 columns: S takes 1.2 MB, V and Z of a chunk of tiles 1.3 MB. Larger blocks are
// transformed less often, longer chunks load and store S less often; smaller ones fit into the second-level cache.
constexpr std::int64_t kBlockGroups = 8, kBlockPanels = 1, kChunkTiles = 48;
// Pieces of work to aim at, so that many threads have enough; the tiles a slice must have to pay for its transform of
// S, and for two or four threads to have work at all; and what partial results may take.
constexpr std::int64_t kPieces = 64, kSliceTiles = 192;
constexpr std::int64_t kFewPieces = 4, kFewTiles = 48;
constexpr std::int64_t kPartialFloats = 1 << 20;

std::int64_t slices_of(std::int64_t tiles, std::int64_t blocks, std::int64_t floats_of_dw) {
  const std::int64_t most = std::min(ceil_div(kPieces, blocks), 1 + kPartialFloats / floats_of_dw);
  const std::int64_t few = std::min(ceil_div(kFewPieces, blocks), tiles / kFewTiles);
  const std::int64_t slices = std::clamp<std::int64_t>(std::max(tiles / kSliceTiles, few), 1, most);
  if (slices == 1) return 1;
  return slices - slices % (slices < 4 ? 2 : 4);  // an even share for a few threads
}

// How a gradient is cut into pieces and a piece lies in memory: functions of the shape. Distances in floats.
struct Plan {
  template <class T>
  explicit Plan(const WeightGradient<T>& g)
      : grid(g.images, g.dy.height, g.dy.width, kTile),
        panels(g.columns),
        groups(ceil_div(g.channels, kGroup)),
        channel_blocks(ceil_div(groups, kBlockGroups)),
        block_groups(ceil_div(groups, channel_blocks)),
        column_blocks(ceil_div(panels.count(), kBlockPanels)),
        block_panels(ceil_div(panels.count(), column_blocks)),
        blocks(channel_blocks * column_blocks),
        slices(slices_of(grid.count, blocks, kTaps * g.channels * g.columns)),
        slice_tiles(ceil_div(grid.count, slices)),
        chunk_tiles(ceil_div(slice_tiles, ceil_div(slice_tiles, kChunkTiles))) {
    slices = ceil_div(grid.count, slice_tiles);
    v_group = spread(chunk_tiles * kGroup);
    v_place = spread(block_groups * v_group);
    z_step = panels.max_vectors() * kLanes;
    z_panel = spread(chunk_tiles * z_step);
    z_place = spread(block_panels * z_panel);
    s_pitch = block_panels * z_step;
    s_place = spread(block_groups * kGroup * s_pitch);
  }

  TileGrid grid;
  Panels panels;
  std::int64_t groups, channel_blocks, block_groups, column_blocks, block_panels, blocks;
  std::int64_t slices, slice_tiles, chunk_tiles;
  std::int64_t v_group, v_place;          // V: [place][group][tile][kGroup]
  std::int64_t z_step, z_panel, z_place;  // Z: [place][panel][tile][the panel's columns]
  std::int64_t s_pitch, s_place;          // S: [place][channel][panel][its columns]
};

// One block of dw, summed over one slice of the tiles.
template <class T>
class Piece {
 public:
  Piece(const WeightGradient<T>& g, const Plan& plan, std::int64_t block);
  void add_slice(std::int64_t slice, const T* zeros);
  // Writes G' S G into dw, which is [taps][channels][columns].
  void finish(float* dw) const;

 private:
  void transform(std::int64_t first_tile, std::int64_t tiles, const T* zeros);
  void multiply(std::int64_t tiles, bool accumulate);
  int vectors(std::int64_t panel) const { return plan_.panels.vectors(first_panel_ + panel); }

  const WeightGradient<T>& g_;
  const Plan& plan_;
  std::int64_t first_channel_, channels_, first_panel_, panels_;
  float *v_, *z_, *s_;
};

template <class T>
Piece<T>::Piece(const WeightGradient<T>& g, const Plan& plan, std::int64_t block)
    : g_(g),
      plan_(plan),
      first_channel_(block % plan.channel_blocks * plan.block_groups * kGroup),
      channels_(std::min(g.channels - first_channel_, plan.block_groups * kGroup)),
      first_panel_(block / plan.channel_blocks * plan.block_panels),
      panels_(std::min(plan.panels.count() - first_panel_, plan.block_panels)),
      v_(thread_memory(kPlaces * (plan.v_place + plan.z_place + plan.s_place))),
      z_(v_ + kPlaces * plan.v_place),
      s_(z_ + kPlaces * plan.z_place) {}

template <class T>
void Piece<T>::transform(std::int64_t first_tile, std::int64_t tiles, const T* zeros) {
  thread_local std::vector<const T*> x, dy;
  x.clear(), dy.clear();
  const Tap corner = g_.taps.front();
  for (std::int64_t tile = first_tile; tile < first_tile + tiles; ++tile) {
    const auto [n, top, left] = plan_.grid.at(tile);
    list_square(g_.x, {n, top + corner.y, left + corner.x}, kSide, zeros, x);
    list_square(g_.dy, {n, top, left}, kTile, zeros, dy);
  }
  transform_squares<kSide, kSide>(
      x.data(), tiles, first_channel_, channels_,
      [](const auto& load, const auto& store) { Transform::input(load, store); },
      [&](std::int64_t tile, std::int64_t channel) {
        return v_ + channel / kGroup * plan_.v_group + tile * kGroup + channel % kGroup;
      },
      plan_.v_place);
  for (std::int64_t panel = 0; panel < panels_; ++panel)
    transform_squares<kTile, kSide>(
        dy.data(), tiles, plan_.panels.first_column(first_panel_ + panel), plan_.panels.width(first_panel_ + panel),
        [](const auto& load, const auto& store) { Transform::output_gradient(load, store); },
        [&](std::int64_t tile, std::int64_t column) {
          return z_ + panel * plan_.z_panel + tile * plan_.z_step + column;
        },
        plan_.z_place);
}

template <class T>
void Piece<T>::multiply(std::int64_t tiles, bool accumulate) {
  thread_local std::vector<std::int32_t> offsets;
  offsets.resize(static_cast<std::size_t>(tiles));
  for (std::size_t t = 0; t < offsets.size(); ++t) offsets[t] = static_cast<std::int32_t>(t * plan_.z_step);
  for (int place = 0; place < kPlaces; ++place)
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      const float* z = z_ + place * plan_.z_place + panel * plan_.z_panel;
      for (std::int64_t channel = 0; channel < channels_; channel += kGroup)
        gradient_product(Factors::floats,
                         {.x = v_ + place * plan_.v_place + channel / kGroup * plan_.v_group,
                          .x_step = kGroup,
                          .dy = z,
                          .dy_offsets = offsets.data(),
                          .n_steps = static_cast<int>(tiles),
                          .dw = s_ + place * plan_.s_place + channel * plan_.s_pitch + panel * plan_.z_step,
                          .dw_pitch = plan_.s_pitch,
                          .prefetch = z,
                          .accumulate = accumulate},
                         std::min(kGroup, channels_ - channel), channels_ - channel, vectors(panel),
                         [](const GradientArgs&) {});
    }
}

template <class T>
void Piece<T>::add_slice(std::int64_t slice, const T* zeros) {
  const std::int64_t begin = slice * plan_.slice_tiles, end = std::min(plan_.grid.count, begin + plan_.slice_tiles);
  for (std::int64_t tile = begin; tile < end; tile += plan_.chunk_tiles) {
    const std::int64_t tiles = std::min(plan_.chunk_tiles, end - tile);
    transform(tile, tiles, zeros);
    multiply(tiles, tile > begin);
  }
}

template <class T>
void Piece<T>::finish(float* dw) const {
  const std::int64_t tap_step = g_.channels * g_.columns;
  for (std::int64_t channel = 0; channel < channels_; ++channel)
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      const float* s = s_ + channel * plan_.s_pitch + panel * plan_.z_step;
      float* to = dw + (first_channel_ + channel) * g_.columns + plan_.panels.first_column(first_panel_ + panel);
      over_lanes(plan_.panels.width(first_panel_ + panel), [&](std::int64_t column, auto lanes) {
        Transform::weights_gradient(
            [&](int y, int x) { return load(s + (y * kSide + x) * plan_.s_place + column); },
            [&](int y, int x, Vec value) { lanes.store(to + (3 * y + x) * tap_step + column, value); });
      });
    }
}

template <class T>
void add_up_as(HostBackend& backend, const WeightGradient<T>& g) {
  const Plan plan(g);
  const std::int64_t size = kTaps * g.channels * g.columns;
  float* partial = plan.slices == 1 ? nullptr : backend.scratch(Scratch::partial_sums, (plan.slices - 1) * size);
  const T* zeros = backend.scratch<T>(Scratch::zeros, std::max(g.channels, g.columns));
  for_each_part(plan.slices * plan.blocks, [&](std::int64_t part) {
    const std::int64_t slice = part / plan.blocks;
    Piece<T> piece(g, plan, part % plan.blocks);
    piece.add_slice(slice, zeros);
    piece.finish(slice == 0 ? g.dw : partial + (slice - 1) * size);
  });
  add_slices(g.dw, partial, plan.slices - 1, size);
}

}  // namespace

bool winograd_gradient_pays(DType type, std::int64_t images, std::int64_t height, std::int64_t width,
                            std::int64_t channels, std::int64_t columns) {
  if (std::min(channels, columns) < 16) return false;
  // Multiplications for one channel and column. Direct sums skip taps that fall into a padding of one pixel. To make V
  // and Z takes two fifths as long as the products, and to make dw of S as long as 250.
  const std::int64_t direct = images * (3 * height - 2) * (3 * width - 2);
  const std::int64_t products = TileGrid(images, height, width, kTile).count * kPlaces;
  // Direct sums of pairs in bf16 take three fifths as long.
  const bool in_pairs = type == DType::bf16 && kPairHalves == 1;
  return (in_pairs ? 3 * direct / 5 : direct) > products + 2 * products / 5 + 250;
}

void add_up_by_winograd(HostBackend& backend, const WeightGradient<float>& g) { add_up_as(backend, g); }
void add_up_by_winograd(HostBackend& backend, const WeightGradient<Bf16>& g) { add_up_as(backend, g); }

}  // namespace brigade::host
