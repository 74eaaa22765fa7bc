/// Made-up pictures in any number, for measuring input without a dataset.
#pragma once

#include <memory>

#include "brigade/dataset/ingest.hpp"

namespace brigade::dataset {

struct SyntheticImages {
  std::int64_t samples = 0;
  std::int64_t height = 0, width = 0;  ///< pixels, three channels
  std::int64_t classes = 10;
  std::uint64_t seed = 1;
};

/// JPEG files (quality 90) of coloured clouds under noise, so that neither storage nor a JPEG can shrink them to
/// nothing. Sample i is a function of (seed, i). Throws OptionError if a number is out of range.
std::shared_ptr<const Source> synthetic_source(const SyntheticImages& wanted);

}  // namespace brigade::dataset
