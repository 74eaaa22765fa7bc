// What happens to one picture: drawn here, carried out in augment_picture.cpp.
#pragma once

#include <cstdint>

#include "brigade/core/random.hpp"
#include "brigade/dataset/augment.hpp"
#include "brigade/dataset/manifest.hpp"

namespace brigade::dataset {

// Lengths in pixels; a picture covers [0, height) x [0, width), the centre of pixel (0, 0) is (0.5, 0.5).
struct Recipe {
  // From a place in the new picture back to the stored one: mirrored if `mirror`; then about the centre, by
  // rotation * shift * shear * zoom (ImageDataGenerator's order); then from the whole frame into the box.
  bool mirror = false;
  double rotation = 0, shear = 0;  // radians
  double shift_y = 0, shift_x = 0;
  double zoom_y = 1, zoom_x = 1;
  struct Box {
    double top, left, height, width;
  } box{};  // part of the stored picture

  // level -> brightness * (contrast * (saturation * level + (1 - saturation) * grey of the pixel)
  //                        + (1 - contrast) * mean grey of the stored picture) + channel_shift
  double brightness = 1, contrast = 1, saturation = 1, channel_shift = 0;

  // Rows [cut_top, cut_bottom) and columns [cut_left, cut_right) are set to the mean.
  std::int64_t cut_top = 0, cut_bottom = 0, cut_left = 0, cut_right = 0;

  bool photometric() const { return brightness != 1 || contrast != 1 || saturation != 1 || channel_shift != 0; }
};

// The draws of sample `sample` in epoch `epoch`.
inline RandomKey augmentation_key(std::uint64_t seed, std::int64_t epoch, std::int64_t sample) {
  return {.seed = seed,
          .purpose = Purpose::augmentation,
          .stream = static_cast<std::uint32_t>(epoch),
          .position = static_cast<std::uint32_t>(sample)};
}

// `stored` to `wanted`, of which only height and width count. Without augmentation: the middle of the stored picture
// if it is large enough, else all of it, resized.
Recipe draw_recipe(const Augmentation& augmentation, const RandomKey& key, const ImageShape& stored,
                   const ImageShape& wanted);

// Mixup: how much a picture keeps of itself, in [1/2, 1].
float draw_share(const Augmentation& augmentation, const RandomKey& key);

}  // namespace brigade::dataset
