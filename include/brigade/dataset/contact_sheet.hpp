/// A picture of pictures: what augmentation does to them, made by the code that feeds training.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "brigade/dataset/augment.hpp"
#include "brigade/dataset/reader.hpp"

namespace brigade::dataset {

struct ContactSheetOptions {
  std::int64_t pictures = 8;  ///< rows
  std::int64_t versions = 8;  ///< columns after the original: one an epoch
  Augmentation augmentation;
  std::uint64_t seed = 1;       ///< as in training: of order and augmentation
  std::int64_t image_size = 0;  ///< of the augmented pictures; 0: as stored
  std::array<float, 3> mean{}, stddev{1, 1, 1};
};

/// Writes a PNG: a row for each of the first pictures of training's first epoch, the original and then how epochs
/// 0, 1, ... see it. Small pictures are magnified. Throws OptionError, or DataError if the file cannot be written.
void write_contact_sheet(const std::filesystem::path& file,
                         const std::function<std::unique_ptr<SplitReader>()>& open_split,
                         const ContactSheetOptions& options);

}  // namespace brigade::dataset
