/// Augmentation of training pictures: what may happen to them, and how it is written down.
///
///     flip,rotate=20,zoom=0.2,shear=5,shift=0.1,channel-shift=30
///
/// A picture's draws are a function of (seed, epoch, sample) alone, so the number of ranks and threads and a resume
/// never change a picture.
///
/// All geometric parts are one affine map, sampled once, bilinearly. Beyond the border lie the pixels of the border:
/// a constant would draw edges that a network learns, a reflection would show things twice.
#pragma once

#include <cstdint>
#include <string>

namespace brigade::dataset {

/// Rotation, zoom, shear, shift and channel shift mean what Keras' ImageDataGenerator means. Ranges are symmetric and
/// uniform. Defaults: nothing happens.
struct Augmentation {
  bool flip = false;    ///< left to right, every second picture
  double rotate = 0;    ///< up to so many degrees
  double zoom = 0;      ///< height and width, each by a factor in 1 -+ zoom
  double shear = 0;     ///< up to so many degrees
  double shift = 0;     ///< up and down, left and right, by up to so much of the height and width
  double crop = -1;     ///< a random part, after a border of so many pixels has been added (He et al., "Deep residual
                        ///< learning", CVPR 2016, section 4.2); -1: no random crop
  double area_min = 0;  ///< a random part of area_min to area_max of the area and of aspect 3/4 to 4/3, resized
  double area_max = 0;  ///< (Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6); 0: no such crop

  /// Factors in 1 -+ each: all levels; the distance of levels from the picture's mean grey; the distance of colours
  /// from their grey. Levels beyond 0..255 are cut off once, at the end (Krizhevsky 2012 and others; torchvision cuts
  /// off after each).
  double brightness = 0, contrast = 0, saturation = 0;
  double channel_shift = 0;  ///< up to so many of the 255 grey levels are added to all channels alike

  double cutout = 0;           ///< side in pixels of a square that is set to the mean; its centre is anywhere, so it
                               ///< may reach over the border (DeVries and Taylor, arXiv:1708.04552)
  double mixup = 0;            ///< alpha: pictures 2j and 2j + 1 of a global batch are mixed, shares ~ Beta(alpha,
                               ///< alpha), each picture keeping the larger share of itself (Zhang et al., ICLR 2018)
  double label_smoothing = 0;  ///< ops/softmax_cross_entropy.hpp

  bool operator==(const Augmentation&) const = default;
};

/// Reads the grammar: words separated by commas, in any order, each at most once; "none" or nothing: no augmentation.
/// Throws OptionError that names the word, and the nearest known one.
Augmentation parse_augmentation(const std::string& text);

/// Canonical: parse_augmentation(to_string(a)) == a, and equal augmentations give equal text. "none" if there is none.
std::string to_string(const Augmentation& augmentation);

/// All words with the form and meaning of their values, one a line, for --help.
std::string augmentation_help();

}  // namespace brigade::dataset
