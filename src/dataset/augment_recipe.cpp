// Every draw has a number of its own, so that adding a word to --augment changes no other draw.
#include "augment_recipe.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace brigade::dataset {
namespace {

enum Draw : std::uint64_t {
  kMirror,
  kRotation,
  kShear,
  kShiftY,
  kShiftX,
  kZoomY,
  kZoomX,
  kCropY,
  kCropX,
  kBrightness,
  kContrast,
  kSaturation,
  kChannelShift,
  kCutY,
  kCutX,
  kBox = 32,   // two numbers an attempt, then the place
  kMix = 128,  // two numbers an attempt
};
constexpr std::uint64_t kAttempts = 10;

class Draws {
 public:
  explicit Draws(const RandomKey& key) : key_(key) {}
  double uniform(std::uint64_t number) const { return static_cast<double>(to_uniform(random_u32(key_, number))); }
  // In [-range, range).
  double around_zero(std::uint64_t number, double range) const {
    return range == 0 ? 0 : range * (2 * uniform(number) - 1);
  }
  // A factor in [1 - range, 1 + range), not negative.
  double factor(std::uint64_t number, double range) const {
    const double low = std::max(0.0, 1 - range);
    return range == 0 ? 1 : low + uniform(number) * (1 + range - low);
  }
  // An integer in [0, count).
  std::int64_t below(std::uint64_t number, std::int64_t count) const {
    return static_cast<std::int64_t>(uniform(number) * static_cast<double>(count));
  }

 private:
  RandomKey key_;
};

double radians(double degrees) { return degrees * std::numbers::pi / 180; }

// A part of the wanted size at its own scale, in the middle; or all, if the stored picture is smaller than that.
Recipe::Box middle(const ImageShape& stored, const ImageShape& wanted) {
  if (wanted.height > stored.height || wanted.width > stored.width)
    return {0, 0, static_cast<double>(stored.height), static_cast<double>(stored.width)};
  return {static_cast<double>((stored.height - wanted.height) / 2),
          static_cast<double>((stored.width - wanted.width) / 2), static_cast<double>(wanted.height),
          static_cast<double>(wanted.width)};
}

// A part of the wanted size anywhere on the stored picture with its border; it begins on a whole pixel.
void draw_crop(const Draws& draws, std::int64_t border, const ImageShape& stored, const ImageShape& wanted,
               Recipe::Box& box) {
  const std::int64_t rows = std::max<std::int64_t>(0, stored.height - wanted.height) + 2 * border + 1;
  const std::int64_t columns = std::max<std::int64_t>(0, stored.width - wanted.width) + 2 * border + 1;
  box.top = static_cast<double>(draws.below(kCropY, rows) - border);
  box.left = static_cast<double>(draws.below(kCropX, columns) - border);
}

// Area uniform, logarithm of the aspect uniform; the first of ten attempts that fits, else the largest middle part
// whose aspect is allowed.
Recipe::Box draw_resized_crop(const Draws& draws, double area_min, double area_max, double height, double width) {
  const double widest = std::log(4.0 / 3.0);
  for (std::uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    const double share = area_min + (area_max - area_min) * draws.uniform(kBox + 2 * attempt);
    const double aspect = std::exp(draws.around_zero(kBox + 2 * attempt + 1, widest));  // width / height
    const double w = std::sqrt(share * height * width * aspect), h = w / aspect;
    if (w > width || h > height) continue;
    return {(height - h) * draws.uniform(kBox + 2 * kAttempts), (width - w) * draws.uniform(kBox + 2 * kAttempts + 1),
            h, w};
  }
  const double h = std::min(height, width * 4 / 3), w = std::min(width, height * 4 / 3);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

void draw_cutout(const Draws& draws, std::int64_t side, const ImageShape& wanted, Recipe& recipe) {
  const std::int64_t top = draws.below(kCutY, wanted.height) - side / 2;
  const std::int64_t left = draws.below(kCutX, wanted.width) - side / 2;
  recipe.cut_top = std::max<std::int64_t>(0, top);
  recipe.cut_left = std::max<std::int64_t>(0, left);
  recipe.cut_bottom = std::min(wanted.height, top + side);
  recipe.cut_right = std::min(wanted.width, left + side);
}

}  // namespace

Recipe draw_recipe(const Augmentation& a, const RandomKey& key, const ImageShape& stored, const ImageShape& wanted) {
  const Draws draws(key);
  const auto height = static_cast<double>(wanted.height), width = static_cast<double>(wanted.width);
  Recipe recipe{.mirror = a.flip && draws.uniform(kMirror) < 0.5,
                .rotation = radians(draws.around_zero(kRotation, a.rotate)),
                .shear = radians(draws.around_zero(kShear, a.shear)),
                .shift_y = draws.around_zero(kShiftY, a.shift * height),
                .shift_x = draws.around_zero(kShiftX, a.shift * width),
                .zoom_y = draws.factor(kZoomY, a.zoom),
                .zoom_x = draws.factor(kZoomX, a.zoom),
                .box = middle(stored, wanted),
                .brightness = draws.factor(kBrightness, a.brightness),
                .contrast = draws.factor(kContrast, a.contrast),
                .saturation = stored.channels == 3 ? draws.factor(kSaturation, a.saturation) : 1,
                .channel_shift = draws.around_zero(kChannelShift, a.channel_shift)};
  if (a.crop >= 0) draw_crop(draws, static_cast<std::int64_t>(a.crop), stored, wanted, recipe.box);
  if (a.area_max > 0)
    recipe.box = draw_resized_crop(draws, a.area_min, a.area_max, static_cast<double>(stored.height),
                                   static_cast<double>(stored.width));
  if (a.cutout > 0) draw_cutout(draws, static_cast<std::int64_t>(a.cutout), wanted, recipe);
  return recipe;
}

// Beta(alpha, alpha) by Joehnk's method: x = u^(1/alpha) and y = v^(1/alpha), taken if x + y <= 1, give x / (x + y).
float draw_share(const Augmentation& a, const RandomKey& key) {
  if (a.mixup == 0) return 1;
  const Draws draws(key);
  for (std::uint64_t number = kMix;; number += 2) {
    const double x = std::pow(draws.uniform(number) + 0x1p-25, 1 / a.mixup);
    const double y = std::pow(draws.uniform(number + 1) + 0x1p-25, 1 / a.mixup);
    if (x + y <= 1 && x + y > 0) return static_cast<float>(std::max(x, y) / (x + y));
  }
}

}  // namespace brigade::dataset
