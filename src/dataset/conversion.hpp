// From what a source holds to what a shard holds: decode, resize, encode again if asked to.
#pragma once

#include <optional>
#include <vector>

#include "brigade/dataset/ingest.hpp"
#include "shard.hpp"

namespace brigade::dataset {

class Conversion {
 public:
  // `image` is the shape of the dataset.
  Conversion(const Source& source, const ImageShape& image, const IngestOptions& options);

  // Replaces `stored` by the bytes of sample `index` as they go into a shard. Throws DataError if it does not decode.
  // Thread-safe; what it needs on the way is kept per thread.
  StoredSample operator()(std::int64_t index, std::vector<std::uint8_t>& stored) const;

 private:
  void to_pixels(const std::vector<std::byte>& fetched, std::vector<std::uint8_t>& pixels) const;

  const Source& source_;
  std::optional<ImageShape> from_;  // of pixels; nothing for image files
  ImageShape image_;
  Layout layout_;
  int quality_;
  bool fixed_size_;  // asked for: images of other sizes are resized
  Resize resize_;
};

// The shape that `options` and `sources` amount to. Throws DataError if splits disagree or nothing decodes.
ImageShape image_of(const Sources& sources, const IngestOptions& options);

}  // namespace brigade::dataset
