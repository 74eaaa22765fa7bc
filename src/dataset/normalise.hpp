// Pixels, or grey levels after augmentation, to what a network reads.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace brigade::dataset {

// out = (level / 255 - mean[c]) / stddev[c], as one multiplication and one addition a value. Channels alternate, so
// the constants repeat with period 1 or 3: they are laid out over 48 values, which is a whole number of periods and
// of vectors, and the loop is the same for grey and colour. The types of input and output are two template arguments
// of one loop.
class Normaliser {
 public:
  Normaliser(const std::array<float, 3>& mean, const std::array<float, 3>& stddev, std::int64_t channels);
  void operator()(std::span<const std::uint8_t> pixels, float* out) const;
  void operator()(std::span<const float> levels, float* out) const;

 private:
  static constexpr std::size_t kPeriod = 48;
  alignas(64) std::array<float, kPeriod> scale_{}, shift_{};
};

}  // namespace brigade::dataset
