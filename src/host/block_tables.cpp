#include "block_tables.hpp"

#include <algorithm>
#include <numeric>

namespace brigade::host {
namespace {

// Grows only, so that steady state never allocates.
template <class T>
void reserve(std::vector<T>& v, std::int64_t n) {
  if (static_cast<std::int64_t>(v.size()) < n) v.resize(static_cast<std::size_t>(n));
}

// 14 x 14 pixels and less: a border of one or two pixels is then a good part of the map.
constexpr std::int64_t kSmallMap = 200;
constexpr int kMaxRows = 16;

// Whether pixels follow one another, through rows and images.
template <class T>
bool gapless(const Images<T>& x) {
  return x.row == x.width * x.pixel && x.image == x.height * x.row;
}

}  // namespace

PixelCursor::PixelCursor(const Product& product, bool images_innermost, std::int64_t pixel)
    : images_(product.images), height_(product.height()), width_(product.width()), images_innermost_(images_innermost) {
  if (images_innermost) {
    n = pixel % images_;
    pixel /= images_;
  } else {
    n = pixel / (height_ * width_);
    pixel %= height_ * width_;
  }
  y = pixel / width_;
  x = pixel % width_;
}

std::int64_t PixelCursor::run() const { return images_innermost_ ? images_ - n : width_ - x; }

void PixelCursor::advance(std::int64_t pixels) {
  if (images_innermost_) {
    if ((n += pixels) < images_) return;
    n = 0;
    ++x;
  } else {
    x += pixels;
  }
  if (x < width_) return;
  x = 0;
  if (++y < height_) return;
  y = 0;
  ++n;
}

ProductPlan::ProductPlan(const Product& p, const float* zero_row) : product(p), zeros(zero_row) {
  tile_rows = host::tile_rows(p.weights.panels().max_vectors(), p.pixels());
  images_innermost = !p.padded && p.images > 1 && p.height() * p.width() <= kSmallMap;
  even = p.padded && p.taps.size() == 1 && p.stride_y == 1 && p.stride_x == 1 && p.in.height == p.out.height &&
         p.in.width == p.out.width && gapless(p.in) && gapless(p.out) && p.narrow_out.data == nullptr && !p.finishes();
  low_y = low_x = 0;
  high_y = p.in.height;
  high_x = p.in.width;
  for (const Tap& tap : p.taps) {
    low_y = std::max<std::int64_t>(low_y, -tap.y);
    low_x = std::max<std::int64_t>(low_x, -tap.x);
    high_y = std::min(high_y, p.in.height - tap.y);
    high_x = std::min(high_x, p.in.width - tap.x);
  }
}

void BlockTables::fill(const ProductPlan& plan, std::int64_t first_pixel, std::int64_t pixels) {
  const Product& p = plan.product;
  tile_rows_ = plan.tile_rows;
  pixels_ = pixels;
  normalised_ = false;
  tiles_ = static_cast<int>((pixels + tile_rows_ - 1) / tile_rows_);
  all_taps_ = static_cast<int>(p.taps.size());
  reserve(tile_, tiles_);
  reserve(rows_, static_cast<std::int64_t>(tiles_) * tile_rows_ * std::max(all_taps_, 1));
  reserve(taps_, static_cast<std::int64_t>(tiles_) * all_taps_);
  reserve(out_, static_cast<std::int64_t>(tiles_) * tile_rows_);
  reserve(offsets_, all_taps_);
  reserve(dummy_, p.weights.panels().padded_columns());
  for (int t = 0; t < all_taps_; ++t) {
    const Tap& tap = p.taps[static_cast<std::size_t>(t)];
    offsets_[static_cast<std::size_t>(t)] = tap.y * p.in.row + tap.x * p.in.pixel;
  }

  const bool asks_for_pixels = p.finishes() || p.made_in != nullptr;
  if (asks_for_pixels) reserve(pixel_, static_cast<std::int64_t>(tiles_) * tile_rows_);
  if (plan.even) return fill_evenly(p, first_pixel);
  PixelCursor cursor(p, plan.images_innermost, first_pixel);
  const std::int64_t in_step = plan.images_innermost ? p.in.image : p.stride_x * p.in.pixel;
  const std::int64_t out_step = plan.images_innermost ? p.out.image : p.out.pixel;
  const std::int64_t narrow_step = plan.images_innermost ? p.narrow_out.image : p.narrow_out.pixel;
  const bool finishes = p.finishes(), narrow = p.narrow_out.data != nullptr && !finishes;
  sums_pitch_ = spread_pitch(p.columns);
  if (narrow || finishes) reserve(sums_, tiles_ * tile_rows_ * sums_pitch_);
  if (narrow) {
    reserve(narrow_out_, static_cast<std::int64_t>(tiles_) * tile_rows_);
    reserve(narrow_dummy_, sums_pitch_);
  }
  const std::int64_t pixel_step = plan.images_innermost ? p.height() * p.width() : 1;
  const std::int64_t x_step = plan.images_innermost ? 0 : p.stride_x;
  for (int tile = 0; tile < tiles_; ++tile) {
    const float** origins = rows_.data() + static_cast<std::int64_t>(tile) * all_taps_ * tile_rows_;
    float** out = out_.data() + static_cast<std::int64_t>(tile) * tile_rows_;
    Bf16** narrow_out = narrow_out_.data() + static_cast<std::int64_t>(tile) * tile_rows_;
    std::int64_t y[kMaxRows], x[kMaxRows];
    bool interior = true;
    const auto here = static_cast<int>(std::min<std::int64_t>(tile_rows_, pixels - tile * tile_rows_));
    for (int i = 0; i < here;) {
      const auto run = static_cast<int>(std::min<std::int64_t>(here - i, cursor.run()));
      const std::int64_t in_y = cursor.y * p.stride_y, in_x = cursor.x * p.stride_x;
      const float* from = p.in.data + cursor.n * p.in.image + in_y * p.in.row + in_x * p.in.pixel;
      const std::int64_t pixel = (cursor.n * p.height() + cursor.y) * p.width() + cursor.x;
      float* to = p.out.data + cursor.n * p.out.image + cursor.y * p.out.row + cursor.x * p.out.pixel;
      Bf16* narrow_to = p.narrow_out.data + cursor.n * p.narrow_out.image + cursor.y * p.narrow_out.row +
                        cursor.x * p.narrow_out.pixel;
      const std::int64_t row = tile * tile_rows_ + i;
      for (int r = 0; r < run; ++r) origins[i + r] = from + r * in_step;
      if (narrow)
        for (int r = 0; r < run; ++r) narrow_out[i + r] = narrow_to + r * narrow_step;
      if (asks_for_pixels)
        for (int r = 0; r < run; ++r) pixel_[static_cast<std::size_t>(row + r)] = pixel + r * pixel_step;
      if (narrow || finishes)
        for (int r = 0; r < run; ++r) out[i + r] = sums_.data() + (row + r) * sums_pitch_;
      else
        for (int r = 0; r < run; ++r) out[i + r] = to + r * out_step;
      if (!p.padded) {
        for (int r = 0; r < run; ++r) y[i + r] = in_y, x[i + r] = in_x + r * x_step;
        interior &=
            in_y >= plan.low_y && in_y < plan.high_y && in_x >= plan.low_x && in_x + (run - 1) * x_step < plan.high_x;
      }
      i += run;
      cursor.advance(run);
    }
    for (int i = here; i < tile_rows_; ++i) {  // rows beyond the last pixel compute row 0 again and write it nowhere
      if (!p.padded) y[i] = y[0], x[i] = x[0];
      origins[i] = origins[0];
      out[i] = dummy_.data();
      if (narrow) narrow_out[i] = narrow_dummy_.data();
    }
    if (p.padded || interior)
      tile_[static_cast<std::size_t>(tile)] = {RowKind::by_offset, all_taps_};
    else
      add_pointers(plan, tile, y, x);
  }
  if (p.shared != nullptr) list_finished(plan, first_pixel);
}

// Each pixel of the product finishes one of the gradient, and with a stride those right of it and below, up to the
// next, that no other operand of the product meets.
void BlockTables::list_finished(const ProductPlan& plan, std::int64_t first_pixel) {
  const Product& p = plan.product;
  const std::int64_t height = p.shared_x.shape[1], width = p.shared_x.shape[2];
  PixelCursor cursor(p, plan.images_innermost, first_pixel);
  finished_.clear();
  finished_end_.clear();
  for (std::int64_t row = 0; row < pixels_; ++row) {
    const std::int64_t y = cursor.y * p.shared_stride_y, x = cursor.x * p.shared_stride_x;
    for (std::int64_t i = y; i < std::min(height, y + p.shared_stride_y); ++i)
      for (std::int64_t j = x; j < std::min(width, x + p.shared_stride_x); ++j)
        finished_.push_back({(cursor.n * height + i) * width + j, i == y && j == x ? sums(row) : plan.zeros});
    if ((row + 1) % tile_rows_ == 0 || row + 1 == pixels_)
      finished_end_.push_back(static_cast<std::int64_t>(finished_.size()));
    cursor.advance(1);
  }
}

void BlockTables::fill_evenly(const Product& p, std::int64_t first_pixel) {
  const float* in = p.in.data + first_pixel * p.in.pixel;
  float* out = p.out.data + first_pixel * p.out.pixel;
  const std::int64_t rows = static_cast<std::int64_t>(tiles_) * tile_rows_;
  for (std::int64_t r = 0; r < pixels_; ++r) {
    rows_[static_cast<std::size_t>(r)] = in + r * p.in.pixel;
    out_[static_cast<std::size_t>(r)] = out + r * p.out.pixel;
  }
  if (p.made_in != nullptr) std::iota(pixel_.begin(), pixel_.begin() + pixels_, first_pixel);
  for (std::int64_t r = pixels_; r < rows; ++r) {  // as in fill()
    rows_[static_cast<std::size_t>(r)] = in + (rows - tile_rows_) * p.in.pixel;
    out_[static_cast<std::size_t>(r)] = dummy_.data();
  }
  for (int tile = 0; tile < tiles_; ++tile) tile_[static_cast<std::size_t>(tile)] = {RowKind::by_offset, 1};
}

// Turns the origins of a tile's rows into pointers for every tap that some row has inside of the image.
void BlockTables::add_pointers(const ProductPlan& plan, int tile, const std::int64_t* y, const std::int64_t* x) {
  const Product& p = plan.product;
  const float** rows = rows_.data() + static_cast<std::int64_t>(tile) * all_taps_ * tile_rows_;
  std::int32_t* taps = taps_.data() + static_cast<std::int64_t>(tile) * all_taps_;
  const float* origins[kMaxRows];
  std::copy_n(rows, tile_rows_, origins);
  int n_taps = 0;
  for (int t = 0; t < all_taps_; ++t) {
    const Tap& tap = p.taps[static_cast<std::size_t>(t)];
    const std::int64_t offset = offsets_[static_cast<std::size_t>(t)];
    bool any = false;
    for (int i = 0; i < tile_rows_; ++i) {
      const bool inside = static_cast<std::uint64_t>(y[i] + tap.y) < static_cast<std::uint64_t>(p.in.height) &&
                          static_cast<std::uint64_t>(x[i] + tap.x) < static_cast<std::uint64_t>(p.in.width);
      rows[i] = inside ? origins[i] + offset : plan.zeros;
      any |= inside;
    }
    if (!any) continue;  // the next tap overwrites these rows
    rows += tile_rows_;
    taps[n_taps++] = t;
  }
  tile_[static_cast<std::size_t>(tile)] = {RowKind::by_pointer, n_taps};
}

void BlockTables::normalise(Factors factors, const Normaliser& by, std::int64_t first, std::int64_t channels) {
  const std::int64_t pitch = spread_pitch(channels);
  const auto bytes = static_cast<std::size_t>(tiles_ * tile_rows_ * pitch) * sizeof(float);
  if (normalised_x_.bytes() < bytes) {
    normalised_x_ = Buffer();
    normalised_x_ = Buffer(host_memory(), bytes);
  }
  auto* to = normalised_x_.as<float>();
  reserve(normalised_rows_, static_cast<std::int64_t>(tiles_) * tile_rows_);
  with_activation(by.activation, [&](auto activation) {
    const auto row = [&](std::int64_t r) { return rows_[static_cast<std::size_t>(r)] + first; };
    if (factors == Factors::floats)
      normalise_rows<activation()>(row, pixels_, channels, by.from(first), to, pitch);
    else
      normalise_rows<activation()>([&](std::int64_t r) { return reinterpret_cast<const Bf16*>(row(r)); }, pixels_,
                                   2 * channels, by.from(2 * first), reinterpret_cast<Bf16*>(to), 2 * pitch);
  });
  for (std::int64_t r = 0; r < tiles_ * tile_rows_; ++r)
    normalised_rows_[static_cast<std::size_t>(r)] = to + (r < pixels_ ? r : r / tile_rows_ * tile_rows_) * pitch;
  normalised_ = true;
}

bool BlockTables::select_pointers(int tile, int first_tap, int last_tap, TileArgs& args) const {
  const std::int32_t* taps = taps_.data() + static_cast<std::int64_t>(tile) * all_taps_;
  const std::int32_t* end = taps + tile_[static_cast<std::size_t>(tile)].n_taps;
  const std::int32_t* first = std::lower_bound(taps, end, first_tap);
  const std::int32_t* last = std::lower_bound(first, end, last_tap);
  args.rows = rows_.data() + static_cast<std::int64_t>(tile) * all_taps_ * tile_rows_ + (first - taps) * tile_rows_;
  args.taps = first;
  args.first_tap = 0;
  args.n_taps = static_cast<int>(last - first);
  return args.n_taps > 0;
}

}  // namespace brigade::host
