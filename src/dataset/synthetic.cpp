// A picture is a grid of random colours, interpolated, plus noise: large parts that compress, and grain that does not.
#include "brigade/dataset/synthetic.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "brigade/core/error.hpp"
#include "brigade/core/random.hpp"
#include "encode_image.hpp"
#include "source_support.hpp"

namespace brigade::dataset {
namespace {

constexpr std::int64_t kCells = 8;  // of the grid, along each side
constexpr std::int64_t kChannels = 3;
constexpr int kQuality = 90;
constexpr int kNoise = 16;  // grey levels from darkest to brightest grain

class RandomBytes {
 public:
  explicit RandomBytes(const RandomKey& key) : key_(key) {}
  int next() {
    if (used_ == sizeof block_) {
      block_ = random_block(key_, number_++);
      used_ = 0;
    }
    return static_cast<int>(block_[used_ / 4] >> 8 * (used_++ % 4) & 0xFF);
  }

 private:
  RandomKey key_;
  PhiloxBlock block_{};
  std::uint64_t number_ = 0;
  std::size_t used_ = sizeof(PhiloxBlock);
};

class SyntheticSource final : public Source {
 public:
  explicit SyntheticSource(const SyntheticImages& wanted) : wanted_(wanted) {}
  std::int64_t samples() const override { return wanted_.samples; }
  std::vector<std::string> classes() const override { return numbered_classes(wanted_.classes); }
  std::int32_t label(std::int64_t index) const override { return static_cast<std::int32_t>(index % wanted_.classes); }
  std::string name(std::int64_t index) const override { return fmt::format("synthetic#{}", index); }
  void fetch(std::int64_t index, std::vector<std::byte>& bytes) const override {
    const ImageShape shape{wanted_.height, wanted_.width, kChannels};
    thread_local std::vector<std::uint8_t> pixels, file;
    pixels.resize(static_cast<std::size_t>(shape.size()));
    paint(index, pixels);
    encode_jpeg(pixels, shape, kQuality, file);
    bytes.resize(file.size());
    std::memcpy(bytes.data(), file.data(), file.size());
  }

 private:
  void paint(std::int64_t index, std::span<std::uint8_t> pixels) const {
    RandomBytes random({.seed = wanted_.seed, .position = static_cast<std::uint32_t>(index)});
    std::array<std::array<std::array<int, kChannels>, kCells + 1>, kCells + 1> grid{};
    for (auto& row : grid)
      for (auto& corner : row)
        for (int& colour : corner) colour = random.next();
    std::size_t at = 0;
    for (std::int64_t y = 0; y < wanted_.height; ++y) {
      const auto [top, below] = place(y, wanted_.height);
      for (std::int64_t x = 0; x < wanted_.width; ++x) {
        const auto [left, right] = place(x, wanted_.width);
        for (std::size_t c = 0; c < kChannels; ++c) {
          const float upper = mix(grid[top][left][c], grid[top][left + 1][c], right);
          const float lower = mix(grid[top + 1][left][c], grid[top + 1][left + 1][c], right);
          const float cloud = upper + below * (lower - upper);
          const int level = static_cast<int>(cloud) + random.next() % kNoise - kNoise / 2;
          pixels[at++] = static_cast<std::uint8_t>(std::clamp(level, 0, 255));
        }
      }
    }
  }
  // The cell that a row or column is in, and how far.
  static std::pair<std::size_t, float> place(std::int64_t i, std::int64_t extent) {
    const std::int64_t scaled = i * kCells;
    return {static_cast<std::size_t>(scaled / extent),
            static_cast<float>(scaled % extent) / static_cast<float>(extent)};
  }
  static float mix(int a, int b, float share) { return static_cast<float>(a) + share * static_cast<float>(b - a); }

  SyntheticImages wanted_;
};

}  // namespace

std::shared_ptr<const Source> synthetic_source(const SyntheticImages& wanted) {
  require<OptionError>(wanted.samples >= 1 && wanted.samples <= std::int64_t{1} << 32,
                       "{} synthetic images cannot be made (1 to 2^32)", wanted.samples);
  for (const std::int64_t side : {wanted.height, wanted.width})
    require<OptionError>(side >= 1 && side <= 8192, "synthetic images of {}x{} pixels cannot be made (1 to 8192)",
                         wanted.height, wanted.width);
  require<OptionError>(wanted.classes >= 1 && wanted.classes <= 1 << 20, "{} synthetic classes", wanted.classes);
  return std::make_shared<SyntheticSource>(wanted);
}

}  // namespace brigade::dataset
