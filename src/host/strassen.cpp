#include "strassen.hpp"

#include <algorithm>
#include <array>

#include "activation.hpp"
#include "bias.hpp"
#include "block_tables.hpp"
#include "ceil_div.hpp"
#include "panels.hpp"
#include "parallel.hpp"
#include "thread_memory.hpp"
#include "tile_kernel.hpp"

namespace brigade::host {
namespace {

constexpr int kProducts = 7;
// Factors of the products that are sums of two parts of A: all but A11 and A22.
constexpr int kSums = 5;
// Fewer channels or columns, and the sums and differences cost most of what they save.
constexpr std::int64_t kFewestChannels = 512;
// Pairs of pixels of a block: their sums, of 256 channels, take half of the second-level cache.
constexpr std::int64_t kBlockPairs = 100;

// The factors of B, from its parts; in the order of the products.
std::array<Vec, kProducts> factors_of_b(Vec b11, Vec b12, Vec b21, Vec b22) {
  return {b11 + b22, b11, b12 - b22, b21 - b11, b22, b11 + b12, b21 + b22};
}

// The product of halves: [rows][channels] x [channels][columns], seven times.
struct Halves {
  Halves(const ops::Conv2d& conv, std::int64_t all_pairs)
      : channels(conv.in_channels / 2), columns(conv.out_channels / 2), pairs(all_pairs) {
    const std::int64_t blocks = std::max<std::int64_t>(ceil_div(pairs, kBlockPairs), threads());
    block_pairs = ceil_div(pairs, blocks);
    panels = Panels(columns, widest_panel(block_pairs));
    tile_rows = host::tile_rows(panels.max_vectors(), block_pairs);
  }
  std::int64_t block_rows() const { return ceil_div(block_pairs, tile_rows) * tile_rows; }
  std::int64_t weight_floats() const { return kProducts * channels * columns; }
  // The factors of B for the columns of a panel, one after the other, each [channels][columns of the panel].
  std::int64_t panel_offset(std::int64_t panel) const { return kProducts * channels * panels.first_column(panel); }

  std::int64_t channels, columns, pairs, block_pairs = 0;
  Panels panels;
  int tile_rows = 0;
};

void make_weights(const Halves& h, const float* w, float* to) {
  constexpr std::int64_t kChannels = 16;  // of a part
  const std::int64_t chunks = ceil_div(h.channels, kChannels), pitch = 2 * h.columns;
  for_each_part(h.panels.count() * chunks, [&](std::int64_t part) {
    const std::int64_t panel = part / chunks, first = part % chunks * kChannels;
    const std::int64_t width = h.panels.vectors(panel) * kLanes;
    for (std::int64_t k = first; k < std::min(h.channels, first + kChannels); ++k)
      for (std::int64_t c = 0; c < width; c += kLanes) {
        const float* upper = w + k * pitch + h.panels.first_column(panel) + c;
        const float* lower = upper + h.channels * pitch;
        const auto b = factors_of_b(load(upper), load(upper + h.columns), load(lower), load(lower + h.columns));
        for (int i = 0; i < kProducts; ++i)
          store(to + h.panel_offset(panel) + (i * h.channels + k) * width + c, b[static_cast<std::size_t>(i)]);
      }
  });
}

const float* weights_of(HostBackend& backend, const Halves& h, const ops::Conv2d::Forward& a) {
  const auto make = [&](void* to) { make_weights(h, a.w.f32(), static_cast<float*>(to)); };
  if (a.kept != nullptr) {
    // Other blocks may want other panels: their memory is larger by a float, and so taken for what it is.
    const std::int64_t form = widest_panel(h.block_pairs) == kMaxVectors ? 0 : 1;
    const auto bytes = static_cast<std::size_t>(h.weight_floats() + form) * sizeof(float);
    return static_cast<const float*>(a.kept->get(backend.memory(), bytes, make));
  }
  auto* scratch = backend.scratch(Scratch::packed_weights, h.weight_floats());
  make(scratch);
  return scratch;
}

// What a thread needs for a block.
class Block {
 public:
  // Memory for sums, products and tables.
  explicit Block(const Halves& h)
      : h_(h),
        sums_pitch_(spread_pitch(h.channels)),
        sums_(thread_memory<float>(kSums * h.block_rows() * sums_pitch_ +
                                   kProducts * h.block_rows() * kMaxVectors * kLanes)),
        products_(sums_ + kSums * h.block_rows() * sums_pitch_),
        rows_(thread_memory<const float*>(kProducts * h.block_rows())),
        out_(thread_memory<float*>(kProducts * h.block_rows())) {}

  // The factors of A for `pairs` pairs of pixels from x on.
  void take(const float* x, std::int64_t pitch, std::int64_t pairs);
  // M1 to M7 of a panel.
  void multiply(std::int64_t panel, const float* weights);
  // y's numbers of the panel: of the even pixels at `y`, in the first half of the columns.
  template <ops::Activation kBy>
  void add_up(std::int64_t panel, const float* bias, float* y, std::int64_t pitch) const;

 private:
  const Halves& h_;
  std::int64_t pairs_ = 0, sums_pitch_;
  float *sums_, *products_;  // [sum][row][channels and a gap], [product][row][columns of a panel]
  const float** rows_;       // [product][row], of A
  float** out_;              // [product][row]
};

void Block::take(const float* x, std::int64_t pitch, std::int64_t pairs) {
  pairs_ = pairs;
  const std::int64_t rows = h_.block_rows();
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t pair = r < pairs ? r : 0;  // rows beyond the last pair are computed, and read by nobody
    const float *even = x + 2 * pair * pitch, *odd = even + pitch + h_.channels;
    const auto sum = [&](std::int64_t i) { return sums_ + (i * rows + pair) * sums_pitch_; };
    const std::array<const float*, kProducts> factors = {sum(0), sum(1), even, odd, sum(2), sum(3), sum(4)};
    for (std::size_t i = 0; i < kProducts; ++i) rows_[static_cast<std::int64_t>(i) * rows + r] = factors[i];
  }
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    const float *even = x + 2 * pair * pitch, *odd = even + pitch;
    float* sums = sums_ + pair * sums_pitch_;
    const std::int64_t next = rows * sums_pitch_;
    for (std::int64_t c = 0; c < h_.channels; c += kLanes) {
      const Vec a11 = load(even + c), a12 = load(even + h_.channels + c);
      const Vec a21 = load(odd + c), a22 = load(odd + h_.channels + c);
      store(sums + c, a11 + a22);
      store(sums + next + c, a21 + a22);
      store(sums + 2 * next + c, a11 + a12);
      store(sums + 3 * next + c, a21 - a11);
      store(sums + 4 * next + c, a12 - a22);
    }
  }
}

void Block::multiply(std::int64_t panel, const float* weights) {
  constexpr std::int64_t kNoOffset = 0, kLine = 64 / sizeof(float);
  const int vectors = h_.panels.vectors(panel);
  const std::int64_t width = vectors * kLanes, rows = h_.block_rows(), factor = h_.channels * width;
  const std::int64_t tiles = ceil_div(pairs_, h_.tile_rows);
  for (std::int64_t r = 0; r < kProducts * rows; ++r) out_[r] = products_ + r * width;
  const TileKernel kernel = tile_kernel(Factors::floats, RowKind::by_offset, h_.tile_rows, vectors);
  TileArgs args{
      .offsets = &kNoOffset, .n_taps = 1, .n_channels = static_cast<int>(h_.channels), .b_channel_step = width};
  // Every tile asks for a share of the weights that come next.
  args.prefetch_step = std::min(kLine, ceil_div(factor, tiles * h_.channels));
  const float* end = weights + h_.weight_floats();
  const float* b = weights + h_.panel_offset(panel);
  for (int i = 0; i < kProducts; ++i, b += factor) {
    args.b = b;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      args.rows = rows_ + i * rows + tile * h_.tile_rows;
      args.out = out_ + i * rows + tile * h_.tile_rows;
      const float* soon = b + factor + tile * h_.channels * args.prefetch_step;
      args.prefetch = soon < std::min(end, b + 2 * factor) ? soon : nullptr;
      kernel(args);
    }
  }
}

template <ops::Activation kBy>
void Block::add_up(std::int64_t panel, const float* bias, float* y, std::int64_t pitch) const {
  const std::int64_t width = h_.panels.vectors(panel) * kLanes, product = h_.block_rows() * width;
  const std::int64_t right = h_.columns, first = h_.panels.first_column(panel);
  const float* m = products_;
  float* even = y + first;
  for (std::int64_t pair = 0; pair < pairs_; ++pair, m += width, even += 2 * pitch)
    for (std::int64_t c = 0; c < width; c += kLanes) {
      const auto product_of = [&](std::int64_t i) { return load(m + i * product + c); };
      const auto begin = [&](std::int64_t half) { return bias == nullptr ? Vec{} : load(bias + half + first + c); };
      const Vec m1 = product_of(0), m2 = product_of(1), m3 = product_of(2), m4 = product_of(3), m5 = product_of(4);
      float* to = even + c;
      store(to, activate<kBy>(((m1 + m4) - m5) + product_of(6) + begin(0)));
      store(to + right, activate<kBy>(m3 + m5 + begin(right)));
      store(to + pitch, activate<kBy>(m2 + m4 + begin(0)));
      store(to + pitch + right, activate<kBy>(((m1 - m2) + m3) + product_of(5) + begin(right)));
    }
}

}  // namespace

bool takes_strassen(const ops::Conv2d& conv, const Shape& out) {
  const bool pointwise = conv.kernel_h == 1 && conv.kernel_w == 1 && conv.stride_h == 1 && conv.stride_w == 1 &&
                         conv.pad_top == 0 && conv.pad_left == 0 && conv.pad_bottom == 0 && conv.pad_right == 0;
  return pointwise && conv.groups == 1 && out[2] % 2 == 0 && conv.in_channels >= kFewestChannels &&
         conv.out_channels >= kFewestChannels && conv.in_channels % (2 * kLanes) == 0 &&
         conv.out_channels % (2 * kLanes) == 0;
}

void forward_by_strassen(HostBackend& backend, const ops::Conv2d& conv, const ops::Conv2d::Forward& a) {
  const Halves h(conv, a.y.shape.size() / conv.out_channels / 2);
  if (h.pairs == 0) return;
  const float* weights = weights_of(backend, h, a);
  const float* bias = pad_bias(backend, a.bias);
  for_each_part(ceil_div(h.pairs, h.block_pairs), [&](std::int64_t part) {
    const std::int64_t first = part * h.block_pairs;
    Block block(h);
    block.take(a.x.f32() + 2 * first * a.x.pitch, a.x.pitch, std::min(h.block_pairs, h.pairs - first));
    for (std::int64_t panel = 0; panel < h.panels.count(); ++panel) {
      block.multiply(panel, weights);
      with_activation(conv.activation, [&](auto activation) {
        block.add_up<activation()>(panel, bias, a.y.f32() + 2 * first * a.y.pitch, a.y.pitch);
      });
    }
  });
}

}  // namespace brigade::host
