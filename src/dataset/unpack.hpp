// From what a reader fetched to pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "brigade/dataset/reader.hpp"
#include "decode_image.hpp"

namespace brigade::dataset {

// Sample `index` of `reader`, of which `stored` was fetched: the pixels of `region`, at least. They are where they were
// stored, or decoded into `scratch`. Throws DataError naming the sample if it does not decode.
PictureView unpack(const SplitReader& reader, std::int64_t index, std::span<const std::byte> stored,
                   const Region& region, ImagePart& scratch);

}  // namespace brigade::dataset
