// One pass from stored bytes to normalised floats, a row of the new picture at a time, so that everything between lies
// in the first-level cache:
//
//     resample a row (grey levels)  ->  tone  ->  cut off at 0 and 255  ->  normalise, write
//
// A map that turns nothing (any mix of mirror, shift, zoom and crops) resamples along the two axes one after the other:
// a stored row gets its new columns once (new_columns.cpp), and a new row lies between two such rows. Other maps fetch
// four neighbours a pixel; there, a pixel is handled as a vector of four floats, whatever its channels: the lanes too
// many belong to the next pixel, which overwrites them.
#include "augment_picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

using Pixel = float __attribute__((vector_size(16), aligned(4), may_alias));
constexpr std::size_t kSlack = NewColumns::kSlack;

Pixel load(const float* from) { return *reinterpret_cast<const Pixel*>(from); }
void store(float* to, Pixel value) { *reinterpret_cast<Pixel*>(to) = value; }

void to_floats(const std::uint8_t* __restrict in, std::size_t count, float* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(in[i]);
}

constexpr float kGrey[3] = {0.299F, 0.587F, 0.114F};  // ITU-R BT.601, as in JPEG

// Channels alternate: loops run over periods of 48 values, a whole number of pixels and of vectors.
constexpr std::int64_t kPeriod = 48;

double mean_grey(const std::uint8_t* pixels, std::int64_t values, std::int64_t channels) {
  std::array<std::uint32_t, kPeriod> sum{};  // holds for 2^24 periods
  const std::int64_t whole = values / kPeriod * kPeriod;
  for (std::int64_t i = 0; i < whole; i += kPeriod)
    for (std::int64_t j = 0; j < kPeriod; ++j) sum[static_cast<std::size_t>(j)] += pixels[i + j];
  for (std::int64_t i = whole; i < values; ++i) sum[static_cast<std::size_t>(i - whole)] += pixels[i];
  double grey = 0;
  for (std::size_t j = 0; j < kPeriod; ++j)
    grey += (channels == 1 ? 1.0 : static_cast<double>(kGrey[j % 3])) * static_cast<double>(sum[j]);
  return grey / static_cast<double>(values / channels);
}

// saturation * level + (1 - saturation) * grey, where grey is a sum over a value's neighbours in the row: which ones,
// repeats every three values, so that the colour matrix is five shifted rows with weights of period 3. Whole periods
// are computed; both rows have room for them, and two floats more around them, read times zero.
void saturate(float saturation, std::int64_t values, const float* __restrict row, float* __restrict out) {
  std::array<std::array<float, kPeriod>, 5> weight{};
  for (std::size_t j = 0; j < kPeriod; ++j)
    for (std::size_t channel = 0; channel < 3; ++channel)
      weight[2 + channel - j % 3][j] = (1 - saturation) * kGrey[channel] + (channel == j % 3 ? saturation : 0.0F);
  for (std::int64_t i = 0; i < values; i += kPeriod)
    for (std::int64_t j = 0; j < kPeriod; ++j) {
      const auto k = static_cast<std::size_t>(j);
      const float* level = row + i + j;
      out[i + j] = weight[0][k] * level[-2] + weight[1][k] * level[-1] + weight[2][k] * level[0] +
                   weight[3][k] * level[1] + weight[4][k] * level[2];
    }
}

void scale_and_clamp(float gain, float bias, std::int64_t count, float* row) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float level = row[i] * gain + bias;
    const float above = level < 0.0F ? 0.0F : level;
    row[i] = above > 255.0F ? 255.0F : above;
  }
}

void between(const float* __restrict first, const float* __restrict second, float share, std::int64_t count,
             float* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = first[i] + share * (second[i] - first[i]);
}

}  // namespace

struct PictureMaker::Tone {
  float saturation = 1, gain = 1, bias = 0;
  bool changes = false;
};

PictureMaker::PictureMaker(const ImageShape& stored, const ImageShape& wanted, const std::array<float, 3>& mean,
                           const std::array<float, 3>& stddev)
    : stored_(stored),
      wanted_{wanted.height, wanted.width, stored.channels},
      normalise_(mean, stddev, stored.channels),
      rows_(2 * (static_cast<std::size_t>(wanted.width * stored.channels + kPeriod) + 2 * kSlack)),
      row_(rows_.data() + kSlack),
      toned_(row_ + rows_.size() / 2),
      columns_(wanted.width, stored.channels),
      offsets_(static_cast<std::size_t>(wanted.width)),
      share_y_(static_cast<std::size_t>(wanted.width)),
      share_x_(static_cast<std::size_t>(wanted.width)) {
  for (auto& row : neighbour_) row.resize(static_cast<std::size_t>(wanted.width * stored.channels) + kSlack);
}

PictureMaker::Affine PictureMaker::affine_of(const Recipe& r) const {
  const auto height = static_cast<double>(wanted_.height), width = static_cast<double>(wanted_.width);
  const double cosine = std::cos(r.rotation), sine = std::sin(r.rotation);
  // rotation * shear * zoom, and rotation * shift, about the centre
  const double a = r.zoom_y, b = -std::sin(r.shear) * r.zoom_x, d = std::cos(r.shear) * r.zoom_x;
  const double yy = cosine * a, yx = cosine * b - sine * d, xy = sine * a, xx = sine * b + cosine * d;
  const double cy = height / 2, cx = width / 2;
  const double oy = cy - yy * cy - yx * cx + cosine * r.shift_y - sine * r.shift_x;
  const double ox = cx - xy * cy - xx * cx + sine * r.shift_y + cosine * r.shift_x;
  // The new pixel (y, x) has its centre at (y + 1/2, direction * x + from); the box scales; coordinates count centres.
  const double direction = r.mirror ? -1 : 1, from = r.mirror ? width - 0.5 : 0.5;
  const double sy = r.box.height / height, sx = r.box.width / width;
  return {.yy = sy * yy,
          .yx = sy * yx * direction,
          .y0 = r.box.top + sy * (yy * 0.5 + yx * from + oy) - 0.5,
          .xy = sx * xy,
          .xx = sx * xx * direction,
          .x0 = r.box.left + sx * (xy * 0.5 + xx * from + ox) - 0.5};
}

// A pixel more on each side than is used: places are computed in float here and there.
Region PictureMaker::needed(const Recipe& recipe) const {
  const Affine map = affine_of(recipe);
  const auto range = [](double a, double b, double c, std::int64_t extent) {  // of c, c + a, c + b, c + a + b
    const double low = c + std::min(a, 0.0) + std::min(b, 0.0), high = c + std::max(a, 0.0) + std::max(b, 0.0);
    const auto last = static_cast<double>(extent);
    const auto begin = static_cast<std::int64_t>(std::clamp(std::floor(low) - 1, 0.0, std::max(0.0, last - 2)));
    const auto end = static_cast<std::int64_t>(std::clamp(std::floor(high) + 3, 0.0, last));
    return std::pair(begin, std::max(end, std::min(extent, begin + 2)));
  };
  const auto down = static_cast<double>(wanted_.height - 1), right = static_cast<double>(wanted_.width - 1);
  const auto [top, bottom] = range(map.yy * down, map.yx * right, map.y0, stored_.height);
  const auto [left, end] = range(map.xy * down, map.xx * right, map.x0, stored_.width);
  if (recipe.contrast != 1) return {0, 0, stored_.height, stored_.width};  // the mean is over all of it
  return {top, left, bottom - top, end - left};
}

PictureMaker::Tone PictureMaker::tone_of(const Recipe& r, const PictureView& picture) const {
  if (!r.photometric()) return {};
  double bias = r.channel_shift;
  if (r.contrast != 1)
    bias += r.brightness * (1 - r.contrast) * mean_grey(picture.at(0, 0), stored_.size(), stored_.channels);
  return {.saturation = static_cast<float>(r.saturation),
          .gain = static_cast<float>(r.brightness * r.contrast),
          .bias = static_cast<float>(bias),
          .changes = true};
}

// Row y of the stored picture with the new columns.
const float* PictureMaker::upright_row(std::int64_t y, const PictureView& picture) {
  const auto slot = static_cast<std::size_t>(y % 2);  // two neighbours never meet in one
  float* out = neighbour_[slot].data();
  if (neighbour_y_[slot] == y) return out;
  neighbour_y_[slot] = y;
  to_floats(picture.at(y, picture.region.left), static_cast<std::size_t>(picture.region.width * stored_.channels),
            levels_.data());
  columns_(levels_.data(), out);
  return out;
}

void PictureMaker::resample_upright(const Affine& map, const PictureView& picture, const Tone& tone, float* out) {
  levels_.resize(std::max(levels_.size(), static_cast<std::size_t>(stored_.width * stored_.channels) + kSlack));
  columns_.aim(map.xx, map.x0, stored_.width, picture.region.left);
  neighbour_y_ = {-1, -1};
  for (std::int64_t y = 0; y < wanted_.height; ++y) {
    const auto [first_y, share] = tap(map.yy * static_cast<double>(y) + map.y0, stored_.height);
    const float* first = upright_row(first_y, picture);
    const float* second = share > 0 ? upright_row(first_y + 1, picture) : first;
    const std::int64_t values = wanted_.width * wanted_.channels;
    if (tone.changes) {
      between(first, second, share, values, row_);
      finish_row(tone, y, out);
    } else {
      normalise_.between(first, second, share, static_cast<std::size_t>(values), out + y * values);
    }
  }
}

// A part at its own scale: rows are normalised as they are, all at once where they follow one another.
void PictureMaker::copy_rows(const Affine& map, const PictureView& picture, float* out) const {
  const auto top = static_cast<std::int64_t>(map.y0), left = static_cast<std::int64_t>(map.x0);
  const std::int64_t channels = stored_.channels;
  const bool joined = wanted_.width * channels == picture.line && top >= 0 && top <= stored_.height - wanted_.height;
  const std::int64_t step = joined ? wanted_.height : 1, values = step * wanted_.width * channels;
  for (std::int64_t y = 0; y < wanted_.height; y += step, out += values) {
    const std::int64_t from = std::clamp<std::int64_t>(y + top, 0, stored_.height - 1);
    normalise_(std::span(picture.at(from, left), static_cast<std::size_t>(values)), out);
  }
}

void PictureMaker::resample(const Affine& map, const PictureView& picture, const Tone& tone, float* out) {
  const Region& region = picture.region;
  const std::int64_t channels = stored_.channels, line = region.width * channels;
  levels_.resize(std::max(levels_.size(), static_cast<std::size_t>((region.height + 1) * line) + kSlack));
  for (std::int64_t y = 0; y < region.height; ++y)
    to_floats(picture.at(region.top + y, region.left), static_cast<std::size_t>(line), levels_.data() + y * line);
  // Places are clamped to the picture, of which the region shows what is needed.
  const auto height = static_cast<float>(stored_.height - 1), width = static_cast<float>(stored_.width - 1);
  const auto last_y = static_cast<std::int32_t>(std::max<std::int64_t>(0, stored_.height - 2));
  const auto last_x = static_cast<std::int32_t>(std::max<std::int64_t>(0, stored_.width - 2));
  const auto first_y = static_cast<std::int32_t>(region.top), first_x = static_cast<std::int32_t>(region.left);
  const auto columns = static_cast<std::int32_t>(wanted_.width);
  const auto step_y = static_cast<float>(map.yx), step_x = static_cast<float>(map.xx);
  const auto line32 = static_cast<std::int32_t>(line), channels32 = static_cast<std::int32_t>(channels);
  for (std::int64_t y = 0; y < wanted_.height; ++y) {
    const auto from_y = static_cast<float>(map.yy * static_cast<double>(y) + map.y0);
    const auto from_x = static_cast<float>(map.xy * static_cast<double>(y) + map.x0);
    std::int32_t* __restrict offset = offsets_.data();
    float* __restrict share_y = share_y_.data();
    float* __restrict share_x = share_x_.data();
    for (std::int32_t x = 0; x < columns; ++x) {
      const float place_y = std::min(std::max(from_y + step_y * static_cast<float>(x), 0.0F), height);
      const float place_x = std::min(std::max(from_x + step_x * static_cast<float>(x), 0.0F), width);
      const std::int32_t top = std::min(static_cast<std::int32_t>(place_y), last_y);
      const std::int32_t left = std::min(static_cast<std::int32_t>(place_x), last_x);
      offset[x] = (top - first_y) * line32 + (left - first_x) * channels32;
      share_y[x] = place_y - static_cast<float>(top);
      share_x[x] = place_x - static_cast<float>(left);
    }
    float* row = row_;
    for (std::int32_t x = 0; x < columns; ++x, row += channels) {
      const float* top = levels_.data() + offset[x];
      const Pixel a = load(top), b = load(top + channels);
      const Pixel c = load(top + line), d = load(top + line + channels);
      const Pixel upper = a + share_x[x] * (b - a), lower = c + share_x[x] * (d - c);
      store(row, upper + share_y[x] * (lower - upper));
    }
    finish_row(tone, y, out);
  }
}

void PictureMaker::finish_row(const Tone& tone, std::int64_t y, float* out) {
  const std::int64_t values = wanted_.width * wanted_.channels;
  float* row = tone.saturation == 1 ? row_ : toned_;
  if (row == toned_) saturate(tone.saturation, values, row_, toned_);
  if (tone.changes) scale_and_clamp(tone.gain, tone.bias, values, row);
  normalise_(std::span<const float>(row, static_cast<std::size_t>(values)), out + y * values);
}

void PictureMaker::cut(const Recipe& recipe, float* out) const {
  const std::int64_t channels = wanted_.channels;
  for (std::int64_t y = recipe.cut_top; y < recipe.cut_bottom; ++y)
    if (recipe.cut_left < recipe.cut_right)
      std::fill_n(out + (y * wanted_.width + recipe.cut_left) * channels,
                  (recipe.cut_right - recipe.cut_left) * channels, 0.0F);
}

void PictureMaker::operator()(const Recipe& recipe, const PictureView& picture, float* out) {
  const Affine map = affine_of(recipe);
  const Tone tone = tone_of(recipe, picture);
  const bool upright = map.yx == 0 && map.xy == 0;
  const bool whole_pixels =
      upright && map.yy == 1 && map.xx == 1 && map.y0 == std::floor(map.y0) && map.x0 == std::floor(map.x0);
  const bool within = map.x0 >= 0 && map.x0 <= static_cast<double>(stored_.width - wanted_.width);
  if (whole_pixels && within && !tone.changes)
    copy_rows(map, picture, out);
  else if (upright)
    resample_upright(map, picture, tone, out);
  else
    resample(map, picture, tone, out);
  cut(recipe, out);
  normalise_.finish();
}

}  // namespace brigade::dataset
