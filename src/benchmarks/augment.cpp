// What a data thread does with a batch, one thread: reading (which for encoded images means decoding), then making
// pictures from it. Batches are made in next() itself, into one buffer, by the code that feeds training.
#include <memory>
#include <vector>

#include "benchmarks.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/random.hpp"
#include "brigade/dataset/batches.hpp"

namespace brigade::benchmarks {
namespace {

// Noise in memory, as many pictures as a batch has.
class Noise final : public dataset::SplitReader {
 public:
  Noise(std::int64_t samples, const dataset::ImageShape& image) : samples_(samples), format_{.image = image} {
    for (std::int64_t i = 0; i < samples * image.size(); ++i)
      pixels_.push_back(static_cast<std::uint8_t>(random_u32({}, static_cast<std::uint64_t>(i)) >> 24));
  }
  std::int64_t samples() const override { return samples_; }
  const dataset::SampleFormat& format() const override { return format_; }
  void fetch(std::span<const std::int64_t> indices, dataset::StoredSamples& stored) override {
    stored.indices.assign(indices.begin(), indices.end());
    stored.labels.assign(indices.size(), 0);
    stored.bytes.clear();
    const auto bytes = static_cast<std::size_t>(image().size());
    for (const std::int64_t i : indices)
      stored.bytes.push_back(std::as_bytes(std::span(pixels_)).subspan(static_cast<std::size_t>(i) * bytes, bytes));
  }
  std::string name(std::int64_t index) const override { return fmt::format("noise {}", index); }
  std::string place(std::int64_t index) const override { return name(index); }

 private:
  void verify(std::int64_t, std::span<const std::byte>, std::span<const std::byte>) override {}

  std::int64_t samples_;
  dataset::SampleFormat format_;
  std::vector<std::uint8_t> pixels_;
};

std::unique_ptr<dataset::SplitReader> open(const AugmentOptions& options, dataset::StreamOptions& stream) {
  if (options.dataset.empty())
    return std::make_unique<Noise>(options.batch, dataset::ImageShape{options.image_size, options.image_size, 3});
  const auto manifest = dataset::read_manifest(options.dataset);
  stream.mean = manifest.mean;
  stream.stddev = manifest.stddev;
  return dataset::open_split(options.dataset, manifest, "train", {.verify = dataset::Verify::never});
}

template <class Work>
Quantiles measure(const Repetitions& repetitions, Work&& work) {
  std::vector<double> seconds;
  for (int i = -repetitions.warmup; i < repetitions.measured; ++i) {
    const Stopwatch watch;
    work();
    if (i >= 0) seconds.push_back(watch.elapsed());
  }
  return quantiles(seconds);
}

}  // namespace

AugmentReport measure_augmentation(const AugmentOptions& options) {
  dataset::StreamOptions stream;
  AugmentReport report{.options = options};
  auto reader = open(options, stream);
  const dataset::ImageShape stored = reader->image();
  require<OptionError>(options.batch <= reader->samples(), "--batch-size {} exceeds the {} training images",
                       options.batch, reader->samples());
  report.stored = Shape{options.batch, stored.height, stored.width, stored.channels};
  report.made = report.stored;
  if (options.crop_size > 0) report.made = Shape{options.batch, options.crop_size, options.crop_size, stored.channels};

  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(report.stored.size()));
  std::vector<std::int32_t> labels(static_cast<std::size_t>(options.batch));
  const auto batches = dataset::training_plan(reader->samples(), options.batch, {0, options.batch}, 1);
  std::int64_t number = 0;
  report.read = measure(options.repetitions, [&] {
    dataset::Selection selection;
    batches(number++, selection);
    reader->read(selection.indices, pixels.data(), labels.data());
  });

  stream.prefetch = 0;
  stream.height = stream.width = options.crop_size;
  for (const bool augmented : {false, true}) {
    if (augmented) stream.augmentation = options.augmentation;
    const auto plan =
        dataset::training_plan(reader->samples(), options.batch, {0, options.batch}, 1, stream.augmentation.mixup > 0);
    dataset::BatchStream made(open(options, stream), plan, stream);
    (augmented ? report.augmented : report.plain) = measure(options.repetitions, [&] { made.next(); });
  }
  return report;
}

void print(const AugmentReport& report) {
  const auto row = [&](const char* what, const Quantiles& seconds) {
    const double images = static_cast<double>(report.options.batch) / seconds.median;
    fmt::print("{:<34}{:>12.0f}{:>16.3f}{:>12.2f}\n", what, images, seconds.median * 1e3,
               report.read.median / seconds.median);
  };
  fmt::print("{} images of {}x{} to {}x{}, one thread, from {}; {}; median of {} repetitions\n\n", report.options.batch,
             report.stored[1], report.stored[2], report.made[1], report.made[2],
             report.options.dataset.empty() ? "memory" : report.options.dataset.string(),
             dataset::to_string(report.options.augmentation), report.options.repetitions.measured);
  fmt::print("{:<34}{:>12}{:>16}{:>12}\n", "", "images/s", "ms a batch", "of reading");
  row("reading (and decoding)", report.read);
  row("... and normalising", report.plain);
  row("... augmenting and normalising", report.augmented);
}

}  // namespace brigade::benchmarks
