// A stored picture, augmented and normalised.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "augment_recipe.hpp"
#include "brigade/dataset/augment.hpp"
#include "brigade/dataset/manifest.hpp"
#include "new_columns.hpp"
#include "normalise.hpp"
#include "picture_view.hpp"

namespace brigade::dataset {

// Carries out recipes for pictures of one shape. Holds scratch memory: one for each thread.
class PictureMaker {
 public:
  // Pictures of shape `stored` become [wanted.height, wanted.width, channels]. `mean` and `stddev` as in Normaliser.
  PictureMaker(const ImageShape& stored, const ImageShape& wanted, const std::array<float, 3>& mean,
               const std::array<float, 3>& stddev);
  PictureMaker(PictureMaker&&) = default;  // row_ stays where it is
  PictureMaker& operator=(PictureMaker&&) = default;

  // Whether pictures are written past the caches: for more of them than fit there.
  void stream(bool yes) { normalise_.stream(yes); }
  // The part of the stored picture that a recipe looks at.
  Region needed(const Recipe& recipe) const;
  // `picture` shows what is needed, at least; out [h, w, c] of the wanted shape.
  void operator()(const Recipe& recipe, const PictureView& picture, float* out);

 private:
  // Source coordinate of new pixel (y, x): [yy y + yx x + y0, xy y + xx x + x0], in pixels from the centre of (0, 0).
  struct Affine {
    double yy, yx, y0, xy, xx, x0;
  };
  struct Tone;  // the photometric part for one picture

  Affine affine_of(const Recipe& recipe) const;
  Tone tone_of(const Recipe& recipe, const PictureView& picture) const;
  void resample_upright(const Affine& map, const PictureView& picture, const Tone& tone, float* out);
  void copy_rows(const Affine& map, const PictureView& picture, float* out) const;
  void resample(const Affine& map, const PictureView& picture, const Tone& tone, float* out);
  const float* upright_row(std::int64_t y, const PictureView& picture);
  void finish_row(const Tone& tone, std::int64_t y, float* out);
  void cut(const Recipe& recipe, float* out) const;

  ImageShape stored_, wanted_;
  Normaliser normalise_;
  std::vector<float> levels_;                    // the stored picture, or one row of it, as floats
  std::vector<float> rows_;                      // two rows of the new picture, in grey levels:
  float* row_;                                   // resampled
  float* toned_;                                 // with another saturation
  std::array<std::vector<float>, 2> neighbour_;  // rows of the stored picture with the new columns
  std::array<std::int64_t, 2> neighbour_y_{};    // which ones
  NewColumns columns_;
  std::vector<std::int32_t> offsets_;
  std::vector<float> share_y_, share_x_;
};

}  // namespace brigade::dataset
