#include "winograd.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "activation.hpp"
#include "brigade/core/error.hpp"
#include "ceil_div.hpp"
#include "gradient_through.hpp"
#include "moments.hpp"
#include "pairs.hpp"
#include "panels.hpp"
#include "parallel.hpp"
#include "thread_memory.hpp"
#include "winograd_kernel.hpp"
#include "winograd_tiles.hpp"
#include "winograd_transform.hpp"
#include "winograd_weights.hpp"

namespace brigade::host {
namespace {

// V of a block: about as much of the second-level cache as leaves room for M and for the weights that pass. But fewer
// tiles than kFewTiles would wait for weights.
constexpr std::int64_t kBlockFloats = 128 << 10;
constexpr std::int64_t kFewTiles = 24;
constexpr std::int64_t kManyTiles = 48;
// U that is not kept: as much as the direct kernel's packed weights of 512 channels to 512 take.
constexpr std::int64_t kWeightBytes = 9 << 20;

// 12 x 12 pixels are nine tiles of 4 x 4: as long as reading U from memory takes.
constexpr std::int64_t kSmallMap = 144;
constexpr std::int64_t kCachedWeights = 256 * 192;

// The tiles of all images, and their blocks.
struct Tiles : TileGrid {
  template <class T>
  explicit Tiles(const WinogradConvolution<T>& c) : TileGrid(c.images, c.out.height, c.out.width, c.filter.m) {
    const std::int64_t fit = kBlockFloats / (c.filter.places() * c.filter.channels);
    const std::int64_t most = std::clamp(fit, kFewTiles, kManyTiles);
    blocks = ceil_div(count, most);
    if (blocks > 2) blocks = ceil_div(blocks, 4) * 4;  // an even share for a few threads
    of_block = ceil_div(count, blocks);
    blocks = ceil_div(count, of_block);
  }
  std::int64_t first(std::int64_t block) const { return block * of_block; }
  std::int64_t size(std::int64_t block) const { return std::min(of_block, count - first(block)); }

  std::int64_t blocks = 0, of_block = 0;
};

// Memory of a block. Distances in floats.
struct BlockLayout {
  template <class T>
  BlockLayout(const WinogradConvolution<T>& c, const Tiles& tiles)
      : v_pitch(spread(c.filter.channels)),
        v_place(spread(tiles.of_block * v_pitch)),
        m_pitch(kMaxVectors * kLanes),
        m_place(spread(tiles.of_block * m_pitch)),
        sums(c.through == nullptr ? 0 : tiles.of_block * c.filter.m * c.filter.m * m_pitch) {}
  std::int64_t v_pitch, v_place, m_pitch, m_place, sums;
};

template <class T>
class Block {
 public:
  // Finds the pixels of the tiles, and makes V.
  void fill(const WinogradConvolution<T>& c, const Tiles& tiles, std::int64_t block, const T* zeros);
  // Makes the panel's columns of the output. `weights` are its U.
  void multiply(const WinogradConvolution<T>& c, const Panels& panels, std::int64_t panel, const float* weights);
  void measure_panel(const Panels& panels, std::int64_t panel, const Moments& to) const;
  void take_panel_through(const WinogradConvolution<T>& c, const Panels& panels, std::int64_t panel,
                          const GradientSums& to) const;

 private:
  void find_pixels(const WinogradConvolution<T>& c, const Tiles& tiles, std::int64_t first, const T* zeros);
  void transform_input(const WinogradConvolution<T>& c);
  // to: [tile][output], the panel's first column being out_column there.
  template <class Transform, ops::Activation kBy, class Out>
  void transform_output(const WinogradConvolution<T>& c, const Panels& panels, std::int64_t panel, Out* const* to,
                        std::int64_t out_column);

  std::int64_t tiles_ = 0;
  std::int64_t v_pitch_ = 0, v_place_ = 0, m_pitch_ = 0, m_place_ = 0;
  float *v_ = nullptr, *m_ = nullptr, *sums_ = nullptr;
  std::vector<const T*> in_;      // [tile][place]: the pixel, or zeros
  std::vector<T*> out_;           // [tile][output]: the pixel, or a dummy
  std::vector<float*> sums_out_;  // instead of out_, if the output goes through a batch norm: into sums_
  std::vector<T> dummy_;
  std::vector<T*> rows_;             // of pixels of the output, one after another
  std::vector<std::int64_t> pixel_;  // which they are: (n * height + y) * width + x
};

template <class T>
void Block<T>::fill(const WinogradConvolution<T>& c, const Tiles& tiles, std::int64_t block, const T* zeros) {
  const BlockLayout layout(c, tiles);
  v_pitch_ = layout.v_pitch, v_place_ = layout.v_place, m_pitch_ = layout.m_pitch, m_place_ = layout.m_place;
  const std::int64_t v = c.filter.places() * v_place_, m = c.filter.places() * m_place_;
  v_ = thread_memory(v + m + layout.sums);
  m_ = v_ + v;
  sums_ = m_ + m;
  tiles_ = tiles.size(block);
  find_pixels(c, tiles, tiles.first(block), zeros);
  transform_input(c);
}

template <class T>
void Block<T>::find_pixels(const WinogradConvolution<T>& c, const Tiles& tiles, std::int64_t first, const T* zeros) {
  in_.clear(), out_.clear(), sums_out_.clear(), rows_.clear(), pixel_.clear();
  dummy_.resize(static_cast<std::size_t>(Panels(c.filter.columns).padded_columns()));
  const int m = c.filter.m;
  // Where a pixel is outside of the image there are fewer pixels than rows of sums, and the last row is free.
  float* const free_sums = sums_ + (tiles_ * m * m - 1) * m_pitch_;
  for (std::int64_t tile = first; tile < first + tiles_; ++tile) {
    const auto [n, top, left] = tiles.at(tile);
    list_square(c.in, {n, top - c.pad_top, left - c.pad_left}, m + 2, zeros, in_);
    for (std::int64_t y = top; y < top + m; ++y)
      for (std::int64_t x = left; x < left + m; ++x) {
        const bool inside = y < c.out.height && x < c.out.width;
        if (inside) {
          rows_.push_back(c.out.data + n * c.out.image + y * c.out.row + x * c.out.pixel);
          pixel_.push_back((n * c.out.height + y) * c.out.width + x);
        }
        if (c.through == nullptr)
          out_.push_back(inside ? rows_.back() : dummy_.data());
        else
          sums_out_.push_back(inside ? sums_ + (std::ssize(rows_) - 1) * m_pitch_ : free_sums);
      }
  }
}

template <class T>
void Block<T>::transform_input(const WinogradConvolution<T>& c) {
  with_winograd(c.filter.m, [&](auto t) {
    using Transform = decltype(t);
    constexpr int kPlaces = Transform::kPlaces;
    transform_squares<kPlaces, kPlaces>(
        in_.data(), tiles_, 0, c.filter.channels,
        [](const auto& load, const auto& store) { Transform::input(load, store); },
        [&](std::int64_t tile, std::int64_t channel) { return v_ + tile * v_pitch_ + channel; }, v_place_);
  });
}

template <class T>
template <class Transform, ops::Activation kBy, class Out>
void Block<T>::transform_output(const WinogradConvolution<T>& c, const Panels& panels, std::int64_t panel,
                                Out* const* to, std::int64_t out_column) {
  constexpr int kPlaces = Transform::kPlaces, kOutputs = Transform::kOutputs;
  const std::int64_t first = panels.first_column(panel), columns = panels.width(panel);
  for (std::int64_t tile = 0; tile < tiles_; ++tile) {
    const float* m = m_ + tile * m_pitch_;
    Out* const* out = to + tile * kOutputs * kOutputs;
    Out* const* soon = to + std::min(tile + 1, tiles_ - 1) * kOutputs * kOutputs;
    over_lanes(columns, [&](std::int64_t column, auto lanes) {
#pragma GCC unroll 36
      for (int i = 0; i < kOutputs * kOutputs; ++i) __builtin_prefetch(soon[i] + out_column + column, 1, 2);
      const Vec bias = c.bias == nullptr ? Vec{} : load(c.bias + first + column);
      Transform::output([&](int y, int x) { return load(m + (y * kPlaces + x) * m_place_ + column); },
                        [&](int y, int x, Vec value) {
                          lanes.store(out[y * kOutputs + x] + out_column + column, activate<kBy>(value + bias));
                        });
    });
  }
}

template <class T>
void Block<T>::multiply(const WinogradConvolution<T>& c, const Panels& panels, std::int64_t panel,
                        const float* weights) {
  const int vectors = panels.vectors(panel);
  const std::int64_t place_step = c.filter.channels * vectors * kLanes;
  for (int place = 0; place < c.filter.places(); ++place) {
    const float* b = weights + place * place_step;
    winograd_product({.a = v_ + place * v_place_,
                      .a_pitch = v_pitch_,
                      .b = b,
                      .k = c.filter.channels,
                      .c = m_ + place * m_place_,
                      .c_pitch = m_pitch_},
                     tiles_, vectors, b + place_step);
  }
  with_winograd(c.filter.m, [&](auto transform) {
    using Transform = decltype(transform);
    if (c.through != nullptr)
      return transform_output<Transform, ops::Activation::none>(c, panels, panel, sums_out_.data(), 0);
    with_activation(c.activation, [&](auto activation) {
      transform_output<Transform, activation()>(c, panels, panel, out_.data(), panels.first_column(panel));
    });
  });
}

template <class T>
void Block<T>::measure_panel(const Panels& panels, std::int64_t panel, const Moments& to) const {
  const std::int64_t first = panels.first_column(panel);
  measure([&](std::int64_t r) { return rows_[static_cast<std::size_t>(r)] + first; },
          static_cast<std::int64_t>(rows_.size()), panels.width(panel), to);
}

template <class T>
void Block<T>::take_panel_through(const WinogradConvolution<T>& c, const Panels& panels, std::int64_t panel,
                                  const GradientSums& to) const {
  const std::int64_t first = panels.first_column(panel), pitch = c.through->x.pitch;
  const T* x = c.through->x.template as<T>() + first;
  with_activation(c.of_through.activation, [&](auto activation) {
    take_through<activation()>([&](std::int64_t r) { return sums_ + r * m_pitch_; },
                               [&](std::int64_t r) { return x + pixel_[static_cast<std::size_t>(r)] * pitch; },
                               [&](std::int64_t r) { return rows_[static_cast<std::size_t>(r)] + first; },
                               static_cast<std::int64_t>(rows_.size()), panels.width(panel), c.of_through.from(first),
                               c.through->add, FirstRows::yes, to);
  });
}

// Pixels of the output in a block.
template <class T>
std::int64_t pixels_of(const WinogradConvolution<T>& c, const Tiles& tiles, std::int64_t block) {
  std::int64_t pixels = 0;
  for (std::int64_t tile = tiles.first(block); tile < tiles.first(block) + tiles.size(block); ++tile) {
    const auto [n, top, left] = tiles.at(tile);
    pixels +=
        std::min<std::int64_t>(c.filter.m, c.out.height - top) * std::min<std::int64_t>(c.filter.m, c.out.width - left);
  }
  return pixels;
}

// Panels of a part: few blocks are split over panels too. The part that ends last decides the time.
std::int64_t panels_of_part(std::int64_t blocks, std::int64_t panels) {
  std::int64_t best = panels, best_cost = -1;
  for (std::int64_t parts = 1; parts <= std::min<std::int64_t>(panels, threads()); ++parts) {
    const std::int64_t each = ceil_div(panels, parts);
    const std::int64_t cost = ceil_div(blocks * ceil_div(panels, each), threads()) * each;
    if (best_cost < 0 || cost < best_cost) best = each, best_cost = cost;
  }
  return best;
}

// U of all panels from what is kept.
const float* kept_weights(HostBackend& backend, const WinogradFilter& f, std::int64_t panels) {
  const auto bytes = static_cast<std::size_t>(winograd_weights_size(f, 0, panels)) * sizeof(float);
  return static_cast<const float*>(f.kept->get(
      backend.memory(), bytes, [&](void* to) { transform_weights(f, 0, panels, static_cast<float*>(to)); }));
}

// Panels whose U is made at a time.
std::int64_t panels_of_group(const WinogradFilter& f, const Panels& panels) {
  if (f.kept != nullptr) return panels.count();
  const auto bytes = winograd_weights_size(f, 0, 1) * static_cast<std::int64_t>(sizeof(float));
  return std::clamp<std::int64_t>(kWeightBytes / bytes, 1, panels.count());
}

template <class T>
void convolve_as(HostBackend& backend, const WinogradConvolution<T>& c) {
  if (c.pixels() == 0) return;
  const Tiles tiles(c);
  const Panels panels(c.filter.columns);
  const std::int64_t width = panels.padded_columns();
  const auto table = [&](std::int64_t floats) { return backend.scratch(Scratch::partial_sums, floats); };
  MomentsTable moments;
  GradientSumsTable gradients;
  if (c.mean != nullptr) moments = {table(MomentsTable::size(tiles.blocks, width)), width};
  if (c.through != nullptr) gradients = {table(GradientSumsTable::size(tiles.blocks, width)), width};
  const T* zeros = backend.scratch<T>(Scratch::zeros, c.filter.channels);

  const std::int64_t group_panels = panels_of_group(c.filter, panels);
  for (std::int64_t first = 0; first < panels.count(); first += group_panels) {
    const std::int64_t end = std::min(panels.count(), first + group_panels);
    const float* weights = nullptr;
    if (c.filter.kept != nullptr) {
      weights = kept_weights(backend, c.filter, panels.count());
    } else {
      float* made = backend.scratch(Scratch::packed_weights, winograd_weights_size(c.filter, first, end));
      transform_weights(c.filter, first, end, made);
      weights = made;
    }
    const std::int64_t part_panels = panels_of_part(tiles.blocks, end - first);
    for_each_part(tiles.blocks * ceil_div(end - first, part_panels), [&](std::int64_t part) {
      thread_local Block<T> memory;
      const std::int64_t block = part % tiles.blocks, first_panel = first + part / tiles.blocks * part_panels;
      memory.fill(c, tiles, block, zeros);
      for (std::int64_t panel = first_panel; panel < std::min(end, first_panel + part_panels); ++panel) {
        const std::int64_t column = panels.first_column(panel);
        memory.multiply(c, panels, panel, weights + winograd_weights_size(c.filter, first, panel));
        if (moments) memory.measure_panel(panels, panel, moments.part(block, column));
        if (gradients) memory.take_panel_through(c, panels, panel, gradients.part(block, column));
      }
    });
  }
  if (c.through != nullptr)
    finish_through(*c.through, gradients, tiles.blocks, [&](std::int64_t) { return c.filter.columns; });
  if (c.mean != nullptr)
    combine_moments(
        moments, tiles.blocks,
        [&](std::int64_t block) {
          return MomentsPart{pixels_of(c, tiles, block), c.filter.columns};
        },
        c.filter.columns, c.pixels(), c.mean, c.variance);
}

}  // namespace

int winograd_tile(DType type, std::int64_t height, std::int64_t width, std::int64_t channels, std::int64_t columns) {
  // Fewer channels leave the products too short, and less than a tile of 4 x 4 is mostly padding, which direct sums
  // skip.
  if (std::min(channels, columns) < 16 || std::min(height, width) < 4) return 0;
  // U has four times the weights with m = 4, and 1.8 times with m = 2. Small images use them for a few tiles only: then
  // they cost more than the multiplications saved, once there are so many that they come from memory.
  const bool many_weights = channels * columns > kCachedWeights;
  const int tile = many_weights && height * width <= kSmallMap ? 2 : 4;
  if (type == DType::f32 || kPairHalves == 2) return tile;
  // Multiplications for one channel and column. Direct sums of bf16 do two at once, and skip taps that fall into a
  // padding of one pixel; V is made for all columns at once, and M for the sum over all channels.
  const auto direct = static_cast<double>((3 * height - 2) * (3 * width - 2)) / 2;
  const auto products = static_cast<double>(ceil_div(height, 4) * ceil_div(width, 4) * 36);
  const double transforms = 8.0 / static_cast<double>(columns) + 8.0 / static_cast<double>(channels);
  return tile == 4 && direct > products * (1.2 + transforms) ? 4 : 0;
}

void convolve(HostBackend& backend, const WinogradConvolution<float>& c) { convolve_as(backend, c); }
void convolve(HostBackend& backend, const WinogradConvolution<Bf16>& c) { convolve_as(backend, c); }

}  // namespace brigade::host
