#include "brigade/dataset/source_reader.hpp"

#include <vector>

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

class SourceReader final : public SplitReader {
 public:
  SourceReader(std::shared_ptr<const Source> source, const SampleFormat& format)
      : source_(std::move(source)), format_(format) {}
  std::int64_t samples() const override { return source_->samples(); }
  const SampleFormat& format() const override { return format_; }
  std::string name(std::int64_t index) const override { return source_->name(index); }
  std::string place(std::int64_t index) const override { return fmt::format("sample {} ({})", index, name(index)); }

  void fetch(std::span<const std::int64_t> indices, StoredSamples& stored) override {
    stored.indices.assign(indices.begin(), indices.end());
    stored.labels.clear();
    stored.memory.clear();
    std::vector<std::size_t> ends;
    for (const std::int64_t index : indices) {
      require(index >= 0 && index < samples(), "there is no sample {} (the source has {})", index, samples());
      try {
        source_->fetch(index, fetched_);
      } catch (const DataError& error) {
        throw DataError(fmt::format("{} cannot be read ({})", place(index), error.what()));
      }
      stored.memory.insert(stored.memory.end(), fetched_.begin(), fetched_.end());
      stored.labels.push_back(source_->label(index));
      ends.push_back(stored.memory.size());
    }
    stored.bytes.clear();
    for (std::size_t begin = 0; const std::size_t end : ends) {
      stored.bytes.push_back(std::span(stored.memory).subspan(begin, end - begin));
      begin = end;
    }
  }

 protected:
  void verify(std::int64_t, std::span<const std::byte>, std::span<const std::byte>) override {
  }  // sources compare what their formats let them

 private:
  std::shared_ptr<const Source> source_;
  SampleFormat format_;
  std::vector<std::byte> fetched_;  // the last sample
};

}  // namespace

std::unique_ptr<SplitReader> open_source_reader(std::shared_ptr<const Source> source, const ImageShape& image,
                                                Resize resize) {
  const auto pixels = source->pixels();
  require<OptionError>(!pixels || *pixels == image, "the source holds images of {}x{}x{}, not of {}x{}x{}",
                       pixels->height, pixels->width, pixels->channels, image.height, image.width, image.channels);
  const Layout layout = pixels ? Layout::raw : Layout::encoded;
  return std::make_unique<SourceReader>(std::move(source),
                                        SampleFormat{.image = image, .layout = layout, .resize = resize});
}

}  // namespace brigade::dataset
