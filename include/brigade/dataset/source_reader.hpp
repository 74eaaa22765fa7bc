/// Other people's files read as they are, without shards: what training from image files or TFRecord costs.
#pragma once

#include <memory>

#include "brigade/dataset/ingest.hpp"
#include "brigade/dataset/reader.hpp"

namespace brigade::dataset {

/// A reader whose sample i is sample i of `source`, fetched and decoded (and brought to `image` as `resize` says) at
/// each read, exactly as ingest would. Sources that hold pixels must hold `image`. read() throws DataError naming the
/// sample. Threads may each have a reader of the same source.
std::unique_ptr<SplitReader> open_source_reader(std::shared_ptr<const Source> source, const ImageShape& image,
                                                Resize resize);

}  // namespace brigade::dataset
