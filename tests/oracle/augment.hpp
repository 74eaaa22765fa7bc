#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "oracle/array.hpp"

namespace brigade::oracle {

/// What is done to one picture, by the names of include/brigade/dataset/augment.hpp. Angles in degrees, shifts in
/// pixels.
struct PictureChange {
  bool mirror = false;
  double rotation = 0, shear = 0, shift_y = 0, shift_x = 0, zoom_y = 1, zoom_x = 1;
  double box_top = 0, box_left = 0, box_height = 0, box_width = 0;  ///< part of the picture that is shown
  double brightness = 1, contrast = 1, saturation = 1, channel_shift = 0;
  std::int64_t cut_top = 0, cut_bottom = 0, cut_left = 0, cut_right = 0;
};

/// picture [1, h, w, c] in grey levels to [1, height, width, c], normalised; one pixel at a time, one step after the
/// other.
Array change(const Array& picture, const PictureChange& how, std::int64_t height, std::int64_t width,
             const std::array<float, 3>& mean, const std::array<float, 3>& stddev);

}  // namespace brigade::oracle
