#include "oracle/augment.hpp"

#include <algorithm>
#include <cmath>

namespace brigade::oracle {
namespace {

struct Place {
  double y, x;
};

double radians(double degrees) { return degrees * std::acos(-1.0) / 180; }

// Where the new picture's place comes from; undoes the changes from the last to the first.
Place source_of(Place p, const PictureChange& how, double height, double width) {
  if (how.mirror) p.x = width - p.x;
  p = {p.y - height / 2, p.x - width / 2};
  p = {how.zoom_y * p.y, how.zoom_x * p.x};
  const double shear = radians(how.shear), turn = radians(how.rotation);
  p = {p.y - std::sin(shear) * p.x, std::cos(shear) * p.x};
  p = {p.y + how.shift_y, p.x + how.shift_x};
  p = {std::cos(turn) * p.y - std::sin(turn) * p.x, std::sin(turn) * p.y + std::cos(turn) * p.x};
  p = {p.y + height / 2, p.x + width / 2};
  return {how.box_top + p.y * how.box_height / height, how.box_left + p.x * how.box_width / width};
}

// Bilinear between pixel centres; beyond the border, the border.
double level_at(const Array& picture, Place p, std::int64_t c) {
  const std::int64_t height = picture.shape[1], width = picture.shape[2];
  const double y = std::floor(p.y - 0.5), x = std::floor(p.x - 0.5);
  double level = 0;
  for (int dy = 0; dy < 2; ++dy)
    for (int dx = 0; dx < 2; ++dx) {
      const double weight = (1 - std::abs(p.y - 0.5 - (y + dy))) * (1 - std::abs(p.x - 0.5 - (x + dx)));
      level += weight * picture(0, std::clamp<std::int64_t>(static_cast<std::int64_t>(y) + dy, 0, height - 1),
                                std::clamp<std::int64_t>(static_cast<std::int64_t>(x) + dx, 0, width - 1), c);
    }
  return level;
}

double grey(const std::array<double, 3>& level, std::int64_t channels) {
  return channels == 1 ? level[0] : 0.299 * level[0] + 0.587 * level[1] + 0.114 * level[2];
}

}  // namespace

Array change(const Array& picture, const PictureChange& how, std::int64_t height, std::int64_t width,
             const std::array<float, 3>& mean, const std::array<float, 3>& stddev) {
  const std::int64_t channels = picture.shape[3];
  double mean_grey = 0;
  for (std::int64_t y = 0; y < picture.shape[1]; ++y)
    for (std::int64_t x = 0; x < picture.shape[2]; ++x) {
      std::array<double, 3> level{};
      for (std::int64_t c = 0; c < channels; ++c) level[static_cast<std::size_t>(c)] = picture(0, y, x, c);
      mean_grey += grey(level, channels) / static_cast<double>(picture.shape[1] * picture.shape[2]);
    }
  Array result({1, height, width, channels});
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      const Place from = source_of({static_cast<double>(y) + 0.5, static_cast<double>(x) + 0.5}, how,
                                   static_cast<double>(height), static_cast<double>(width));
      std::array<double, 3> level{};
      for (std::int64_t c = 0; c < channels; ++c) level[static_cast<std::size_t>(c)] = level_at(picture, from, c);
      const double own_grey = grey(level, channels);
      const bool cut = y >= how.cut_top && y < how.cut_bottom && x >= how.cut_left && x < how.cut_right;
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto k = static_cast<std::size_t>(c);
        double v = how.saturation * level[k] + (1 - how.saturation) * own_grey;
        v = how.contrast * v + (1 - how.contrast) * mean_grey;
        v = how.brightness * v + how.channel_shift;
        v = std::clamp(v, 0.0, 255.0);
        result(0, y, x, c) = cut ? 0 : (v / 255 - static_cast<double>(mean[k])) / static_cast<double>(stddev[k]);
      }
    }
  return result;
}

}  // namespace brigade::oracle
