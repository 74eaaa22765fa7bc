#include "weight_gradient.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "gradient_kernel.hpp"
#include "parallel.hpp"

namespace brigade::host {
namespace {

// A block's dy, one panel wide, takes 32 KiB of the first cache.
constexpr std::int64_t kBlockFloats = 8192, kMaxBlockPixels = 256;
// Pieces of work to aim at, so that many threads have enough; and the pixels a slice must have to pay for its dw.
constexpr std::int64_t kPieces = 512;
constexpr std::int64_t kSlicePixels = 1024;
// A panel of dy is packed if at least so many tiles read it.
constexpr std::int64_t kTilesToPack = 8;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The tiles of dw, numbered [panel][tap][channel tile], and the slices of the pixels: functions of the shape.
struct Plan {
  explicit Plan(const WeightGradient& g)
      : taps(g.mix_taps ? 1 : static_cast<std::int64_t>(g.taps.size())),
        channels(g.mix_taps ? static_cast<std::int64_t>(g.taps.size()) * g.channels : g.channels),
        panels(g.columns),
        channel_tiles(ceil_div(channels, gradient_rows(panels.max_vectors()))),
        tiles(panels.count() * taps * channel_tiles),
        slices(std::max<std::int64_t>(1, std::min(ceil_div(kPieces, tiles), g.pixels() / kSlicePixels))),
        block_pixels(std::min(kMaxBlockPixels, kBlockFloats / (panels.max_vectors() * kLanes))),
        slice_pixels(ceil_div(ceil_div(g.pixels(), slices), block_pixels) * block_pixels) {
    slices = ceil_div(g.pixels(), slice_pixels);
  }
  // Channels are dealt to tiles evenly: 32 in tiles of at most 6 are 6 6 5 5 5 5.
  std::int64_t first_channel(std::int64_t tile) const {
    return tile * (channels / channel_tiles) + std::min(tile, channels % channel_tiles);
  }

  std::int64_t taps, channels;
  Panels panels;
  std::int64_t channel_tiles, tiles;
  std::int64_t slices, block_pixels, slice_pixels;
};

// The pixels of one block, as the tiles of one thread read them. Memory is kept from block to block.
class Block {
 public:
  void set(const WeightGradient& g, const Plan& plan, std::int64_t first_pixel, std::int64_t pixels, bool pack_dy);
  void list_tap(std::int64_t t, Tap tap);
  void mix_taps(const WeightGradient& g);
  void pack_panel(std::int64_t panel);
  // Replaces x of the only tap by its normalised channels [first, last), in memory of the block.
  void normalise_x(std::int64_t first, std::int64_t last);

  std::span<const PixelOffsets> pixels_of(std::int64_t t) const {
    return {offsets_.data() + t * plan_->block_pixels, static_cast<std::size_t>(counts_[static_cast<std::size_t>(t)])};
  }
  // The i-th column of cache lines that the next block will read: of dy, then of x. Blocks are too short for the
  // hardware's prefetchers to find the pixels of the next in time.
  std::pair<const float*, std::int64_t> next_lines(std::int64_t i) const;

  const float* x() const { return x_; }
  const std::int32_t* row_offsets() const { return row_offsets_.data(); }
  const float* dy(std::int64_t panel) const {
    return pack_dy_ ? packed_dy_.data() : dy_ + plan_->panels.first_column(panel);
  }

 private:
  const WeightGradient* g_ = nullptr;
  const Plan* plan_ = nullptr;
  std::int64_t n_ = 0, y_ = 0, x0_ = 0, pixels_ = 0;  // the first pixel (image, row, column) and their number
  bool pack_dy_ = false;
  std::int64_t dy_pitch_ = 0;
  const float* x_ = nullptr;
  const float* dy_ = nullptr;
  std::vector<PixelOffsets> offsets_;      // [tap][block_pixels]
  std::vector<int> counts_;                // [tap]
  std::vector<float> packed_dy_;           // [pixel][panel]
  std::vector<float> packed_x_;            // [pixel][channels and a gap]
  std::vector<std::int32_t> row_offsets_;  // [tap * channels], if taps are mixed
};

template <class T>
void reserve(std::vector<T>& v, std::int64_t n) {
  if (static_cast<std::int64_t>(v.size()) < n) v.resize(static_cast<std::size_t>(n));
}

void Block::set(const WeightGradient& g, const Plan& plan, std::int64_t first_pixel, std::int64_t pixels,
                bool pack_dy) {
  g_ = &g;
  plan_ = &plan;
  pixels_ = pixels;
  pack_dy_ = pack_dy;
  n_ = first_pixel / (g.dy.height * g.dy.width);
  y_ = first_pixel / g.dy.width % g.dy.height;
  x0_ = first_pixel % g.dy.width;
  x_ = g.x.data + n_ * g.x.image + y_ * g.stride_y * g.x.row;
  dy_ = g.dy.data + first_pixel * g.dy.pixel;
  const std::int64_t panel_width = plan.panels.max_vectors() * kLanes;
  dy_pitch_ = pack_dy ? panel_width : g.dy.pixel;
  reserve(offsets_, plan.taps * plan.block_pixels);
  reserve(counts_, plan.taps);
  if (pack_dy) reserve(packed_dy_, plan.block_pixels * panel_width);
}

// Lists the pixels whose tap t is inside of the image, a row of the output at a time.
void Block::list_tap(std::int64_t t, Tap tap) {
  const WeightGradient& g = *g_;
  // x * stride + tap.x in [0, width)
  const std::int64_t low = tap.x >= 0 ? 0 : ceil_div(-tap.x, g.stride_x);
  const std::int64_t high = tap.x >= g.x.width ? 0 : (g.x.width - 1 - tap.x) / g.stride_x + 1;
  PixelOffsets* list = offsets_.data() + t * plan_->block_pixels;
  int count = 0;
  std::int64_t n = n_, y = y_, x = x0_;
  for (std::int64_t p = 0; p < pixels_;) {
    const std::int64_t end = std::min(g.dy.width, x + pixels_ - p);
    const std::int64_t in_y = y * g.stride_y + tap.y;
    if (in_y >= 0 && in_y < g.x.height) {
      const std::int64_t first = std::max(x, low), last = std::min(end, high);
      const auto x_step = static_cast<std::int32_t>(g.stride_x * g.x.pixel);
      const auto dy_step = static_cast<std::int32_t>(dy_pitch_);
      const auto from_x = static_cast<std::int32_t>((n - n_) * g.x.image + (in_y - y_ * g.stride_y) * g.x.row +
                                                    (first * g.stride_x + tap.x) * g.x.pixel);
      const auto from_dy = static_cast<std::int32_t>((p + first - x) * dy_pitch_);
      const auto here = static_cast<int>(std::max<std::int64_t>(0, last - first));
      for (int i = 0; i < here; ++i) list[count + i] = {from_x + i * x_step, from_dy + i * dy_step};
      count += here;
    }
    p += end - x;
    x = 0;
    if (++y == g.dy.height) y = 0, ++n;
  }
  counts_[static_cast<std::size_t>(t)] = count;
}

// Where each row of dw, a channel of a tap, lies from a pixel's origin.
void Block::mix_taps(const WeightGradient& g) {
  reserve(row_offsets_, static_cast<std::int64_t>(g.taps.size()) * g.channels);
  std::int32_t* offset = row_offsets_.data();
  for (const Tap& tap : g.taps)
    for (std::int64_t c = 0; c < g.channels; ++c)
      *offset++ = static_cast<std::int32_t>(tap.y * g.x.row + tap.x * g.x.pixel + c);
}

std::pair<const float*, std::int64_t> Block::next_lines(std::int64_t i) const {
  constexpr std::int64_t kLine = 16;  // floats
  const WeightGradient& g = *g_;
  const std::int64_t dy_lines = (g.columns + kLine - 1) / kLine, x_lines = (g.channels + kLine - 1) / kLine;
  if (i < dy_lines) return {dy_ + plan_->block_pixels * g.dy.pixel + i * kLine, g.dy.pixel};
  const bool one_to_one = plan_->taps == 1 && g.stride_y == 1 && g.stride_x == 1;
  if (one_to_one && i < dy_lines + x_lines)
    return {x_ + (x0_ + plan_->block_pixels) * g.x.pixel + (i - dy_lines) * kLine, g.x.pixel};
  return {nullptr, 0};
}

void Block::pack_panel(std::int64_t panel) {
  if (!pack_dy_) return;
  const int vectors = plan_->panels.vectors(panel), last = plan_->panels.last_lanes(panel);
  const float* from = dy_ + plan_->panels.first_column(panel);
  float* to = packed_dy_.data();
  for (std::int64_t p = 0; p < pixels_; ++p, from += g_->dy.pixel, to += dy_pitch_) {
    for (int j = 0; j < vectors - 1; ++j) store(to + j * kLanes, load(from + j * kLanes));
    store(to + (vectors - 1) * kLanes, load_first(from + (vectors - 1) * kLanes, last));
  }
}

void Block::normalise_x(std::int64_t first, std::int64_t last) {
  // An odd number of cache lines a pixel, so that a tile's channels of all pixels do not fall into the same few sets.
  const std::int64_t pitch = (((plan_->channels + 15) / 16) | 1) * 16;
  reserve(packed_x_, plan_->block_pixels * pitch);
  const Normaliser by = g_->of_x.from(first);
  with_activation(by.activation, [&](auto activation) {
    normalise_rows<activation()>([&](std::int64_t r) { return x_ + offsets_[static_cast<std::size_t>(r)].x + first; },
                                 pixels_, last - first, by, packed_x_.data() + first, pitch);
  });
  for (std::int64_t p = 0; p < pixels_; ++p)
    offsets_[static_cast<std::size_t>(p)].x = static_cast<std::int32_t>(p * pitch);
  x_ = packed_x_.data();
}

// Adds one block of pixels to tiles [first, last) of dw; the slice's first block overwrites them.
void add_block(const WeightGradient& g, const Plan& plan, Block& block, std::int64_t first, std::int64_t last,
               bool accumulate, float* dw) {
  const std::int64_t tiles_per_panel = plan.taps * plan.channel_tiles;
  std::int64_t panel = -1;
  GradientArgs args;
  args.accumulate = accumulate;
  const ChannelRows kind = g.mix_taps ? ChannelRows::scattered : ChannelRows::consecutive;
  args.dw_pitch = g.columns;
  for (std::int64_t tile = first; tile < last; ++tile) {
    std::tie(args.prefetch, args.prefetch_step) = block.next_lines(tile - first);
    if (tile / tiles_per_panel != panel) {
      panel = tile / tiles_per_panel;
      block.pack_panel(panel);
      args.dy = block.dy(panel);
      args.last_lanes = plan.panels.last_lanes(panel);
    }
    const std::int64_t tap = tile / plan.channel_tiles % plan.taps, channel_tile = tile % plan.channel_tiles;
    const std::int64_t channel = plan.first_channel(channel_tile);
    const auto pixels = block.pixels_of(tap);
    if (pixels.empty() && accumulate) continue;
    if (g.mix_taps) {
      args.x = block.x();
      args.row_offsets = block.row_offsets() + channel;
    } else {
      args.x = block.x() + channel;
    }
    args.pixels = pixels.data();
    args.n_pixels = static_cast<int>(pixels.size());
    args.dw = dw + (tap * plan.channels + channel) * g.columns + plan.panels.first_column(panel);
    gradient_kernel(kind, static_cast<int>(plan.first_channel(channel_tile + 1) - channel),
                    plan.panels.vectors(panel))(args);
  }
}

// Adds up one slice of pixels for tiles [first, last).
void add_slice(const WeightGradient& g, const Plan& plan, std::int64_t slice, std::int64_t first, std::int64_t last,
               float* dw) {
  thread_local Block block;
  const std::int64_t tiles_per_panel = plan.taps * plan.channel_tiles;
  const bool pack_dy =
      g.columns % kLanes != 0 || (plan.panels.count() > 1 && std::min(last - first, tiles_per_panel) >= kTilesToPack);
  if (g.mix_taps) block.mix_taps(g);
  // The taps of these tiles; a run that reaches over a panel's end may need all.
  const bool one_panel = first / tiles_per_panel == (last - 1) / tiles_per_panel;
  const std::int64_t first_tap = one_panel ? first / plan.channel_tiles % plan.taps : 0;
  const std::int64_t last_tap = one_panel ? (last - 1) / plan.channel_tiles % plan.taps : plan.taps - 1;
  const std::int64_t begin = slice * plan.slice_pixels, end = std::min(g.pixels(), begin + plan.slice_pixels);
  for (std::int64_t pixel = begin; pixel < end; pixel += plan.block_pixels) {
    block.set(g, plan, pixel, std::min(plan.block_pixels, end - pixel), pack_dy);
    for (std::int64_t t = first_tap; t <= last_tap; ++t)
      block.list_tap(t, g.mix_taps ? Tap{} : g.taps[static_cast<std::size_t>(t)]);
    if (g.of_x)
      block.normalise_x(one_panel ? plan.first_channel(first % plan.channel_tiles) : 0,
                        one_panel ? plan.first_channel((last - 1) % plan.channel_tiles + 1) : plan.channels);
    add_block(g, plan, block, first, last, pixel > begin, dw);
  }
}

}  // namespace

void add_up(HostBackend& backend, const WeightGradient& g) {
  const std::int64_t size = static_cast<std::int64_t>(g.taps.size()) * g.channels * g.columns;
  if (g.pixels() == 0) {
    std::fill_n(g.dw, size, 0.0F);
    return;
  }
  const Plan plan(g);
  float* partial = plan.slices == 1 ? nullptr : backend.scratch(Scratch::partial_sums, (plan.slices - 1) * size);
  const std::int64_t pieces = plan.slices * plan.tiles;
  const std::int64_t shares = std::min<std::int64_t>(threads(), pieces);
  for_each_part(shares, [&](std::int64_t share) {
    std::int64_t piece = pieces * share / shares;
    const std::int64_t end = pieces * (share + 1) / shares;
    while (piece < end) {
      const std::int64_t slice = piece / plan.tiles, first = piece % plan.tiles;
      const std::int64_t n = std::min(plan.tiles - first, end - piece);
      add_slice(g, plan, slice, first, first + n, slice == 0 ? g.dw : partial + (slice - 1) * size);
      piece += n;
    }
  });
  if (plan.slices == 1) return;
  constexpr std::int64_t kRun = 2048;
  for_each_part(ceil_div(size, kRun), [&](std::int64_t part) {
    const std::int64_t begin = part * kRun, end = std::min(size, begin + kRun);
    for (std::int64_t slice = 1; slice < plan.slices; ++slice) {
      const float* from = partial + (slice - 1) * size;
      for (std::int64_t i = begin; i < end; ++i) g.dw[i] += from[i];
    }
  });
}

}  // namespace brigade::host
