// Pixels, or grey levels after augmentation, to what a network reads.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace brigade::dataset {

// out = (level / 255 - mean[c]) / stddev[c], as one multiplication and one addition a value. Channels alternate, so
// the constants repeat with period 1 or 3: they are laid out over 48 values, which is a whole number of periods and
// of vectors, and the loop is the same for grey and colour.
class Normaliser {
 public:
  Normaliser(const std::array<float, 3>& mean, const std::array<float, 3>& stddev, std::int64_t channels);
  void operator()(std::span<const std::uint8_t> levels, float* out) const;
  void operator()(std::span<const float> levels, float* out) const;
  // Of levels first + share * (second - first), `count` of them.
  void between(const float* first, const float* second, float share, std::size_t count, float* out) const;

  // Whether what is aligned to 64 bytes is written past the caches; finish() is then due before others read it.
  void stream(bool yes) { stream_ = yes; }
  void finish() const;

 private:
  static constexpr std::size_t kPeriod = 48;
  template <class Level>
  void write(std::size_t count, const Level& level, float* out) const;
  template <class Level, class Store>
  void write_with(std::size_t count, const Level& level, float* out, const Store& put) const;

  alignas(64) std::array<float, kPeriod> scale_{}, shift_{};
  bool stream_ = false;
};

}  // namespace brigade::dataset
