#include "weight_gradient.hpp"

#include <algorithm>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "ceil_div.hpp"
#include "gradient_kernel.hpp"
#include "parallel.hpp"
#include "slices.hpp"
#include "thread_memory.hpp"

namespace brigade::host {
namespace {

// A block's dy, one panel wide, takes 20 KiB of the first cache: tiles of x and of dw pass beside it.
constexpr std::int64_t kBlockFloats = 5120;
// Blocks whose x is packed together, so that a tile of a dw too large for the second cache is met by all of them; and
// the bytes of x packed at a time.
constexpr std::int64_t kBlocks = 4, kDwBytesPerBlock = 128 << 10, kChunkBytes = 384 << 10;
// Channels that lie together in packed x: a cache line, two or three tiles.
constexpr std::int64_t kGroup = 16;
// Pieces of work to aim at, so that many threads have enough; and the pixels a slice must have to pay for its dw.
constexpr std::int64_t kPieces = 256;
constexpr std::int64_t kSlicePixels = 1024;

// What pixels of T's are multiplied as, and how many make a step.
template <class T>
constexpr Factors kFactorsOf = std::is_same_v<T, Bf16> ? Factors::bf16_pairs : Factors::floats;
template <class T>
constexpr int kStepPixels = std::is_same_v<T, Bf16> ? 2 : 1;
// In place of the offset of a pixel that is not there.
constexpr std::int32_t kAbsent = std::numeric_limits<std::int32_t>::min();

// The groups of dw's rows, numbered [tap][group of channels], and the slices of the pixels: functions of the shape.
struct Plan {
  template <class T>
  explicit Plan(const WeightGradient<T>& g)
      : taps(g.mix_taps ? 1 : static_cast<std::int64_t>(g.taps.size())),
        channels(g.mix_taps ? static_cast<std::int64_t>(g.taps.size()) * g.channels : g.channels),
        panels(g.columns),
        group_channels(g.mix_taps ? channels : kGroup),
        groups_per_tap(ceil_div(channels, group_channels)),
        groups(taps * groups_per_tap),
        slices(
            std::max<std::int64_t>(1, std::min(ceil_div(kPieces, groups * panels.count()), g.pixels() / kSlicePixels))),
        slice_pixels(ceil_div(g.pixels(), slices)),
        dy_step(halves_of(kFactorsOf<T>) * panels.max_vectors() * kLanes) {
    constexpr std::int64_t kPixels = kStepPixels<T>;
    const std::int64_t blocks = ceil_div(slice_pixels, kBlockFloats / dy_step * kPixels);
    block_pixels = ceil_div(ceil_div(slice_pixels, blocks), kPixels) * kPixels;
    const std::int64_t dw_bytes = taps * channels * g.columns * static_cast<std::int64_t>(sizeof(float));
    packed_pixels =
        std::min(std::clamp<std::int64_t>(dw_bytes / kDwBytesPerBlock, 1, kBlocks) * block_pixels, slice_pixels);
    packed_steps = ceil_div(packed_pixels, kPixels);
    slices = ceil_div(g.pixels(), slice_pixels);
    // Mixed taps lie step by step, an odd number of lines apart; groups of a line lie one after the other, each with
    // a line more than its steps: neither way may columns fall into the same few sets of a cache.
    x_step = g.mix_taps ? (ceil_div(channels, kGroup) | 1) * kGroup : kGroup;
    group_step = (packed_steps + 1) * x_step;
    packs_dy = kPixels > 1 || panels.count() > 1 || panels.padded_columns() != g.dy.pixel;
    chunk_groups =
        std::clamp<std::int64_t>(kChunkBytes / (group_step * static_cast<std::int64_t>(sizeof(float))), 1, groups);
  }
  std::int64_t group_rows(std::int64_t group) const {
    return std::min(group_channels, channels - group % groups_per_tap * group_channels);
  }
  // The group's first row of dw.
  std::int64_t first_row(std::int64_t group) const {
    return group / groups_per_tap * channels + group % groups_per_tap * group_channels;
  }

  std::int64_t taps, channels;
  Panels panels;
  std::int64_t group_channels, groups_per_tap, groups;
  std::int64_t slices, slice_pixels, block_pixels = 0, packed_pixels = 0, packed_steps = 0;
  std::int64_t dy_step, x_step = 0, group_step = 0, chunk_groups = 0;  // in packed memory, in floats
  bool packs_dy = true;                                                // else dy is one panel as it stands
};

template <class T>
void reserve(std::vector<T>& v, std::int64_t n) {
  if (static_cast<std::int64_t>(v.size()) < n) v.resize(static_cast<std::size_t>(n));
}

// Rows of memory that are wanted soon, fetched a line of so many rows at a time.
template <class T>
class Wanted {
 public:
  Wanted() = default;
  // Rows without gaps between them are fetched in one stream.
  Wanted(const T* first, std::int64_t pitch, std::int64_t rows, std::int64_t width)
      : first_(first),
        pitch_(pitch == width ? kLine : pitch),
        rows_(pitch == width ? rows * width / kLine : rows),
        lines_(pitch == width ? 1 : ceil_div(width, kLine)) {}
  // Makes `args` ask for the next line of `steps` rows, as many as it has steps; false: nothing is left.
  bool ask(GradientArgs& args, std::int64_t steps) {
    const std::int64_t first_row = next_ / lines_ * steps;
    if (first_row + steps > rows_) return false;
    args.prefetch = first_ + first_row * pitch_ + next_++ % lines_ * kLine;
    args.prefetch_step = pitch_ * static_cast<std::int64_t>(sizeof(T));
    return true;
  }

 private:
  static constexpr std::int64_t kLine = 64 / sizeof(T);
  const T* first_ = nullptr;
  std::int64_t pitch_ = 0, rows_ = 0, lines_ = 1, next_ = 0;
};

// A few blocks of pixels, packed for the tiles of one thread. Memory is kept from one to the next.
template <class T>
class PackedPixels {
 public:
  void set(const WeightGradient<T>& g, const Plan& plan, std::int64_t first_pixel, std::int64_t pixels);
  void list_tap(std::int64_t t);
  // x of groups [first, last).
  void pack_x(std::int64_t first, std::int64_t last);
  // One panel of one block of dy.
  void pack_dy(std::int64_t panel, std::int64_t block);

  std::int64_t blocks() const { return ceil_div(pixels_, plan_->block_pixels); }
  // Tiles shall fetch what is packed next: one panel of the block of dy that begins `offset` pixels after the first,
  // and x of groups [first, last) of as many pixels as these.
  void want_dy(std::int64_t panel, std::int64_t offset);
  void want_x(std::int64_t first, std::int64_t last, std::int64_t offset);
  // A line of it for each step of a tile.
  void prefetch(GradientArgs& args);
  // The pixels of a block that a tap sees, as the kernel's x, dy_offsets and n_steps. The group is packed.
  void select(std::int64_t group, std::int64_t block, GradientArgs& args) const;

 private:
  static constexpr int kPixels = kStepPixels<T>;

  void pack_tap(std::int64_t t, std::int64_t first_channel, std::int64_t last_channel, float* to);
  void pack_mixed(float* to);
  // The pixels of step p of a tap's list.
  const T* pixel(const std::int32_t* list, std::int64_t p, int i) const {
    const std::int32_t offset = list[kPixels * p + i];
    return offset == kAbsent ? zeros_.data() : x_ + offset;
  }

  const WeightGradient<T>* g_ = nullptr;
  const Plan* plan_ = nullptr;
  std::int64_t first_pixel_ = 0, pixels_ = 0, first_group_ = 0;
  const T* x_ = nullptr;                  // the row of the first pixel
  std::vector<std::int32_t> x_offsets_;   // [tap][packed_steps][kPixels], from x_: of the steps that the tap sees
  std::vector<std::int32_t> dy_offsets_;  // [tap][packed_steps], of these steps in their block's packed panel
  std::vector<std::int32_t> starts_;      // [tap][kBlocks + 1] in these lists
  Wanted<T> wanted_dy_, wanted_x_;
  std::vector<T> zeros_;        // [tap's row], a pixel that is not there
  float* packed_x_ = nullptr;   // [group][step][channel]
  float* packed_dy_ = nullptr;  // [step][panel]
};

template <class T>
void PackedPixels<T>::set(const WeightGradient<T>& g, const Plan& plan, std::int64_t first_pixel, std::int64_t pixels) {
  g_ = &g;
  plan_ = &plan;
  first_pixel_ = first_pixel;
  pixels_ = pixels;
  const std::int64_t n = first_pixel / (g.dy.height * g.dy.width), y = first_pixel / g.dy.width % g.dy.height;
  x_ = g.x.data + n * g.x.image + y * g.stride_y * g.x.row;
  reserve(x_offsets_, plan.taps * plan.packed_steps * kPixels);
  reserve(dy_offsets_, plan.taps * plan.packed_steps);
  reserve(starts_, plan.taps * (kBlocks + 1));
  reserve(zeros_, kPixels == 1 ? 0 : std::max(g.channels, g.columns));
  const std::int64_t of_x = plan.chunk_groups * plan.group_step;
  packed_x_ = thread_memory(of_x + ceil_div(plan.block_pixels, kPixels) * plan.dy_step);
  packed_dy_ = packed_x_ + of_x;
}

// Lists the pixels whose tap t is inside of the image, a row of the output (or of a block) at a time, and the steps
// that they are part of.
template <class T>
void PackedPixels<T>::list_tap(std::int64_t t) {
  const WeightGradient<T>& g = *g_;
  const Tap tap = g.mix_taps ? Tap{} : g.taps[static_cast<std::size_t>(t)];
  // x * stride + tap.x in [0, width)
  const std::int64_t low = tap.x >= 0 ? 0 : ceil_div(-tap.x, g.stride_x);
  const std::int64_t high = tap.x >= g.x.width ? 0 : (g.x.width - 1 - tap.x) / g.stride_x + 1;
  std::int32_t* x_list = x_offsets_.data() + t * plan_->packed_steps * kPixels;
  std::int32_t* dy_list = dy_offsets_.data() + t * plan_->packed_steps;
  std::int32_t* starts = starts_.data() + t * (kBlocks + 1);
  const std::int64_t n0 = first_pixel_ / (g.dy.height * g.dy.width), y0 = first_pixel_ / g.dy.width % g.dy.height;
  std::int64_t n = n0, y = y0, x = first_pixel_ % g.dy.width;
  int count = 0;
  std::int64_t listed = -1;  // the last step
  for (std::int64_t p = 0; p < pixels_;) {
    const std::int64_t in_block = p % plan_->block_pixels;
    if (in_block == 0) {
      starts[p / plan_->block_pixels] = count;
      listed = -1;
    }
    const std::int64_t end = std::min({g.dy.width, x + pixels_ - p, x + plan_->block_pixels - in_block});
    const std::int64_t in_y = y * g.stride_y + tap.y;
    if (in_y >= 0 && in_y < g.x.height) {
      const std::int64_t first = std::max(x, low), last = std::min(end, high);
      const std::int64_t from_x =
          (n - n0) * g.x.image + (in_y - y0 * g.stride_y) * g.x.row + (first * g.stride_x + tap.x) * g.x.pixel;
      for (std::int64_t i = 0; i < last - first; ++i) {
        const std::int64_t pixel = in_block + first - x + i, step = pixel / kPixels;
        if (step != listed) {
          dy_list[count] = static_cast<std::int32_t>(step * plan_->dy_step);
          std::fill_n(x_list + kPixels * count++, kPixels, kAbsent);
          listed = step;
        }
        x_list[kPixels * (count - 1) + pixel % kPixels] =
            static_cast<std::int32_t>(from_x + i * g.stride_x * g.x.pixel);
      }
    }
    p += end - x;
    x = end;
    if (x == g.dy.width) {
      x = 0;
      if (++y == g.dy.height) y = 0, ++n;
    }
  }
  starts[blocks()] = count;
}

template <class T>
void PackedPixels<T>::pack_x(std::int64_t first, std::int64_t last) {
  first_group_ = first;
  if (g_->mix_taps) return pack_mixed(packed_x_);
  float* to = packed_x_;
  for (std::int64_t group = first; group < last;) {
    const std::int64_t tap = group / plan_->groups_per_tap, in_tap = group % plan_->groups_per_tap;
    const std::int64_t n = std::min(last - group, plan_->groups_per_tap - in_tap);
    pack_tap(tap, in_tap * kGroup, std::min(plan_->channels, (in_tap + n) * kGroup), to);
    group += n;
    to += n * plan_->group_step;
  }
}

// Copies, or normalises, the channels [first, last) that a tap sees.
template <class T>
void PackedPixels<T>::pack_tap(std::int64_t t, std::int64_t first, std::int64_t last, float* to) {
  const std::int32_t* list = x_offsets_.data() + t * plan_->packed_steps * kPixels;
  const std::int32_t count = starts_[static_cast<std::size_t>(t * (kBlocks + 1) + blocks())];
  const auto pack = [&](const auto& pack_lanes) {
    for (std::int32_t p = 0; p < count; ++p) {
      const T* from[kPixels];
      for (int i = 0; i < kPixels; ++i) from[i] = pixel(list, p, i);
      float* line = to + p * kGroup;
      std::int64_t c = first;
      for (; c + kGroup <= last; c += kGroup, line += plan_->group_step)
        for (std::int64_t i = 0; i < kGroup; i += kLanes) pack_lanes(from, c + i, line + i, Whole{});
      over_lanes(last - c, [&](std::int64_t i, auto lanes) { pack_lanes(from, c + i, line + i, lanes); });
    }
  };
  if (!g_->of_x)
    return pack([](const auto& from, std::int64_t c, float* line, auto lanes) {
      if constexpr (kPixels == 1)
        lanes.store(line, lanes.load(from[0] + c));
      else
        store_pairs(line, lanes.load_bits(from[0] + c), lanes.load_bits(from[1] + c));
    });
  const Normaliser& by = g_->of_x;
  with_activation(by.activation, [&](auto activation) {
    pack([&](const auto& from, std::int64_t c, float* line, auto lanes) {
      const Vec mean = lanes.load(by.mean + c), scale = lanes.load(by.scale + c), beta = lanes.load(by.beta + c);
      const auto normal = [&](int i) {
        return activate<activation()>(normalise(lanes.load(from[i] + c), mean, scale, beta));
      };
      if constexpr (kPixels == 1)
        lanes.store(line, normal(0));
      else
        store_pairs(line, narrow(normal(0)), narrow(normal(1)));
    });
  });
}

// Every tap sees every pixel here; one that is not there has no dy, whatever stands in for it.
template <class T>
void PackedPixels<T>::pack_mixed(float* to) {
  const WeightGradient<T>& g = *g_;
  for (std::int64_t p = 0; p < ceil_div(pixels_, kPixels); ++p) {
    const std::int32_t* offsets = x_offsets_.data() + p * kPixels;
    const T* from[kPixels];
    for (int i = 0; i < kPixels; ++i) from[i] = x_ + (offsets[i] == kAbsent ? offsets[0] : offsets[i]);
    float* channels = to + p * plan_->x_step;
    for (const Tap& tap : g.taps) {
      const std::int64_t at = tap.y * g.x.row + tap.x * g.x.pixel;
      // Whole registers, also the last: what follows overwrites the lanes that are too many.
      over_lanes(g.channels, [&](std::int64_t i, auto lanes) {
        if constexpr (kPixels == 1)
          store(channels + i, lanes.load(from[0] + at + i));
        else
          store_pairs(channels + i, lanes.load_bits(from[0] + at + i), lanes.load_bits(from[1] + at + i));
      });
      channels += g.channels;
    }
  }
}

template <class T>
void PackedPixels<T>::pack_dy(std::int64_t panel, std::int64_t block) {
  if (!plan_->packs_dy) return;
  const int vectors = plan_->panels.vectors(panel), last = plan_->panels.last_lanes(panel);
  const std::int64_t first = block * plan_->block_pixels, n = std::min(plan_->block_pixels, pixels_ - first);
  const T* from = g_->dy.data + (first_pixel_ + first) * g_->dy.pixel + plan_->panels.first_column(panel);
  float* to = packed_dy_;
  for (std::int64_t p = 0; p < n; p += kPixels, from += kPixels * g_->dy.pixel, to += plan_->dy_step) {
    const T* second = p + 1 < n ? from + g_->dy.pixel : zeros_.data();
    const auto pack_lanes = [&](int j, auto lanes) {
      if constexpr (kPixels == 1)
        store(to + j * kLanes, lanes.load(from + j * kLanes));
      else
        store_row_of_pairs(to, vectors, j, lanes.load_bits(from + j * kLanes), lanes.load_bits(second + j * kLanes));
    };
    for (int j = 0; j < vectors - 1; ++j) pack_lanes(j, Whole{});
    pack_lanes(vectors - 1, First{last});
  }
}

template <class T>
void PackedPixels<T>::select(std::int64_t group, std::int64_t block, GradientArgs& args) const {
  const std::int64_t tap = group / plan_->groups_per_tap;
  const std::int32_t* starts = starts_.data() + tap * (kBlocks + 1) + block;
  args.x = packed_x_ + (group - first_group_) * plan_->group_step + starts[0] * plan_->x_step;
  args.x_step = plan_->x_step;
  args.dy = packed_dy_;
  if constexpr (kPixels == 1)
    if (!plan_->packs_dy) args.dy = g_->dy.data + (first_pixel_ + block * plan_->block_pixels) * g_->dy.pixel;
  args.dy_offsets = dy_offsets_.data() + tap * plan_->packed_steps + starts[0];
  args.n_steps = starts[1] - starts[0];
}

template <class T>
void PackedPixels<T>::want_dy(std::int64_t panel, std::int64_t offset) {
  const std::int64_t pixel = first_pixel_ + offset, rows = std::min(plan_->block_pixels, g_->pixels() - pixel);
  wanted_dy_ = {g_->dy.data + pixel * g_->dy.pixel + plan_->panels.first_column(panel), g_->dy.pixel, rows,
                plan_->panels.width(panel)};
}

// Only where x is read pixel by pixel, as it lies in memory.
template <class T>
void PackedPixels<T>::want_x(std::int64_t first, std::int64_t last, std::int64_t offset) {
  wanted_x_ = {};
  if (plan_->taps > 1 || g_->mix_taps || g_->stride_y > 1 || g_->stride_x > 1) return;
  const std::int64_t pixel = first_pixel_ + offset, channel = first * kGroup;
  wanted_x_ = {g_->x.data + pixel * g_->x.pixel + channel, g_->x.pixel, std::min(pixels_, g_->pixels() - pixel),
               std::min(last * kGroup, plan_->channels) - channel};
}

template <class T>
void PackedPixels<T>::prefetch(GradientArgs& args) {
  const std::int64_t steps = plan_->block_pixels / kPixels;
  if (wanted_dy_.ask(args, steps) || wanted_x_.ask(args, steps)) return;
  args.prefetch = args.dy;
  args.prefetch_step = 0;
}

// Adds one block of pixels to the groups [first, last) of a panel.
template <class T>
void add_block(const WeightGradient<T>& g, const Plan& plan, PackedPixels<T>& pixels, std::int64_t block,
               std::int64_t panel, std::int64_t first, std::int64_t last, bool accumulate, float* dw) {
  const int vectors = plan.panels.vectors(panel);
  float* columns = dw + plan.panels.first_column(panel);
  GradientArgs args;
  args.accumulate = accumulate;
  args.dw_pitch = g.columns;
  args.last_lanes = plan.panels.last_lanes(panel);
  for (std::int64_t group = first; group < last; ++group) {
    pixels.select(group, block, args);
    if (args.n_steps == 0 && accumulate) continue;
    const std::int64_t first_row = plan.first_row(group), rows_of_dw = plan.taps * plan.channels - first_row;
    args.dw = columns + first_row * g.columns;
    gradient_product(kFactorsOf<T>, args, plan.group_rows(group), rows_of_dw, vectors,
                     [&](GradientArgs& tile) { pixels.prefetch(tile); });
  }
}

// Adds up one slice of pixels for pieces [first, last), numbered [panel][group].
template <class T>
void add_slice(const WeightGradient<T>& g, const Plan& plan, std::int64_t slice, std::int64_t first, std::int64_t last,
               float* dw) {
  thread_local PackedPixels<T> pixels;
  const std::int64_t first_panel = first / plan.groups, last_panel = (last - 1) / plan.groups;
  const std::int64_t first_group = first % plan.groups, end_group = (last - 1) % plan.groups + 1;
  // A run that reaches over a panel's end may need all groups.
  const bool one_panel = first_panel == last_panel;
  const std::int64_t low = one_panel ? first_group : 0, high = one_panel ? end_group : plan.groups;
  const std::int64_t begin = slice * plan.slice_pixels, end = std::min(g.pixels(), begin + plan.slice_pixels);
  for (std::int64_t pixel = begin; pixel < end; pixel += plan.packed_pixels) {
    pixels.set(g, plan, pixel, std::min(plan.packed_pixels, end - pixel));
    for (std::int64_t t = low / plan.groups_per_tap; t <= (high - 1) / plan.groups_per_tap; ++t) pixels.list_tap(t);
    for (std::int64_t chunk = low; chunk < high; chunk += plan.chunk_groups) {
      const std::int64_t chunk_end = std::min(high, chunk + plan.chunk_groups);
      pixels.pack_x(chunk, chunk_end);
      const bool last_chunk = chunk_end == high;
      const std::int64_t next_offset = last_chunk ? plan.packed_pixels : 0;  // of what comes after this chunk
      pixels.want_x(
          last_chunk ? low : chunk_end,
          last_chunk ? std::min(high, low + plan.chunk_groups) : std::min(high, chunk_end + plan.chunk_groups),
          next_offset);
      for (std::int64_t panel = first_panel; panel <= last_panel; ++panel) {
        const std::int64_t from = std::max(chunk, panel == first_panel ? first_group : 0);
        const std::int64_t to = std::min(chunk_end, panel == last_panel ? end_group : plan.groups);
        for (std::int64_t block = 0; from < to && block < pixels.blocks(); ++block) {
          pixels.pack_dy(panel, block);
          if (block + 1 < pixels.blocks())
            pixels.want_dy(panel, (block + 1) * plan.block_pixels);
          else
            pixels.want_dy(panel < last_panel ? panel + 1 : first_panel, panel < last_panel ? 0 : next_offset);
          add_block(g, plan, pixels, block, panel, from, to, pixel > begin || block > 0, dw);
        }
      }
    }
  }
}

template <class T>
void add_up_as(HostBackend& backend, const WeightGradient<T>& g) {
  const std::int64_t size = static_cast<std::int64_t>(g.taps.size()) * g.channels * g.columns;
  if (g.pixels() == 0) {
    std::fill_n(g.dw, size, 0.0F);
    return;
  }
  const Plan plan(g);
  float* partial = plan.slices == 1 ? nullptr : backend.scratch(Scratch::partial_sums, (plan.slices - 1) * size);
  const std::int64_t per_slice = plan.panels.count() * plan.groups, pieces = plan.slices * per_slice;
  const std::int64_t shares = std::min<std::int64_t>(threads(), pieces);
  for_each_part(shares, [&](std::int64_t share) {
    std::int64_t piece = pieces * share / shares;
    const std::int64_t end = pieces * (share + 1) / shares;
    while (piece < end) {
      const std::int64_t slice = piece / per_slice, first = piece % per_slice;
      const std::int64_t n = std::min(per_slice - first, end - piece);
      add_slice(g, plan, slice, first, first + n, slice == 0 ? g.dw : partial + (slice - 1) * size);
      piece += n;
    }
  });
  add_slices(g.dw, partial, plan.slices - 1, size);
}

}  // namespace

void add_up(HostBackend& backend, const WeightGradient<float>& gradient) { add_up_as(backend, gradient); }
void add_up(HostBackend& backend, const WeightGradient<Bf16>& gradient) { add_up_as(backend, gradient); }

}  // namespace brigade::host
