#include "brigade/dataset/contact_sheet.hpp"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "brigade/core/atomic_file.hpp"
#include "brigade/core/error.hpp"
#include "brigade/dataset/batches.hpp"

namespace brigade::dataset {
namespace {

constexpr std::int64_t kGap = 4;         // pixels between cells
constexpr std::int64_t kSmallCell = 96;  // cells below it are magnified
constexpr std::uint8_t kPaper = 255;

// RGB pixels on white paper.
class Sheet {
 public:
  Sheet(std::int64_t height, std::int64_t width) : height_(height), width_(width) {
    rgb_.assign(static_cast<std::size_t>(3 * height * width), kPaper);
  }

  // A normalised picture with its upper left corner at (top, left), each pixel a square of `scale` x `scale`.
  void put(const float* picture, const ImageShape& shape, const ContactSheetOptions& options, std::int64_t top,
           std::int64_t left, std::int64_t scale) {
    for (std::int64_t y = 0; y < shape.height * scale; ++y)
      for (std::int64_t x = 0; x < shape.width * scale; ++x)
        for (std::int64_t c = 0; c < 3; ++c) {
          const std::int64_t channel = shape.channels == 3 ? c : 0;
          const float value = picture[(y / scale * shape.width + x / scale) * shape.channels + channel];
          const auto k = static_cast<std::size_t>(channel);
          const float level = 255 * (value * options.stddev[k] + options.mean[k]);
          rgb_[static_cast<std::size_t>(((top + y) * width_ + left + x) * 3 + c)] =
              static_cast<std::uint8_t>(std::clamp(std::lround(level), 0L, 255L));
        }
  }

  void write(const std::filesystem::path& file) const {
    png_image png{};
    png.version = PNG_IMAGE_VERSION;
    png.width = static_cast<png_uint_32>(width_);
    png.height = static_cast<png_uint_32>(height_);
    png.format = PNG_FORMAT_RGB;
    png_alloc_size_t bytes = 0;
    std::string encoded;
    bool done = png_image_write_get_memory_size(png, bytes, 0, rgb_.data(), 0, nullptr) != 0;
    if (done) {
      encoded.resize(bytes);
      done = png_image_write_to_memory(&png, encoded.data(), &bytes, 0, rgb_.data(), 0, nullptr) != 0;
      encoded.resize(bytes);
    }
    require(done, "{} cannot be encoded ({})", file.string(), png.message);
    write_file(file, encoded);
  }

 private:
  std::int64_t height_, width_;
  std::vector<std::uint8_t> rgb_;
};

}  // namespace

void write_contact_sheet(const std::filesystem::path& file,
                         const std::function<std::unique_ptr<SplitReader>()>& open_split,
                         const ContactSheetOptions& options) {
  require<OptionError>(
      options.pictures >= 1 && options.pictures <= 1000 && options.versions >= 1 && options.versions <= 100,
      "a sheet of {} pictures in {} versions cannot be drawn (1 to 1000, 1 to 100)", options.pictures,
      options.versions);
  auto reader = open_split();
  const ImageShape stored = reader->image();
  ImageShape shape = stored;
  if (options.image_size > 0) shape.height = shape.width = options.image_size;
  const std::int64_t rows = std::min(options.pictures, reader->samples());
  const std::int64_t cell_height = std::max(stored.height, shape.height);
  const std::int64_t cell_width = std::max(stored.width, shape.width);
  const std::int64_t scale = std::max<std::int64_t>(1, kSmallCell / std::max(cell_height, cell_width));
  const std::int64_t step_y = cell_height * scale + kGap, step_x = cell_width * scale + kGap;
  Sheet sheet(rows * step_y + kGap, (options.versions + 1) * step_x + kGap);

  // Column 0: as stored. Column 1 + e: epoch e. A pair is read whole, as in training.
  const Permutation order(reader->samples(), options.seed, 0);
  const auto draw = [&](std::int64_t first_column, std::int64_t columns, const StreamOptions& stream,
                        std::unique_ptr<SplitReader> from, const ImageShape& drawn) {
    const auto plan = [&](std::int64_t epoch, Selection& selection) {
      selection.epoch = epoch;
      selection.own = {0, rows};
      selection.indices.clear();
      for (std::int64_t i = 0; i < std::min(rows + rows % 2, order.size()); ++i) selection.indices.push_back(order(i));
      return epoch < columns;
    };
    BatchStream batches(std::move(from), plan, stream);
    while (const Batch* batch = batches.next())
      for (std::int64_t row = 0; row < rows; ++row)
        sheet.put(batch->images.data() + row * drawn.size(), drawn, options, kGap + row * step_y,
                  kGap + (first_column + batch->number) * step_x, scale);
  };
  StreamOptions stream;
  stream.prefetch = 0;
  stream.mean = options.mean;
  stream.stddev = options.stddev;
  stream.seed = options.seed;
  draw(0, 1, stream, std::move(reader), stored);
  stream.augmentation = options.augmentation;
  stream.height = stream.width = options.image_size;
  draw(1, options.versions, stream, open_split(), shape);
  sheet.write(file);
}

}  // namespace brigade::dataset
