#include "normalise.hpp"

#include "brigade/core/error.hpp"

namespace brigade::dataset {

Normaliser::Normaliser(const std::array<float, 3>& mean, const std::array<float, 3>& stddev, std::int64_t channels) {
  EXPECT(channels == 1 || channels == 3);
  for (std::size_t i = 0; i < kPeriod; ++i) {
    const std::size_t c = i % static_cast<std::size_t>(channels);
    scale_[i] = static_cast<float>(1.0 / (255.0 * stddev[c]));
    shift_[i] = static_cast<float>(-static_cast<double>(mean[c]) / stddev[c]);
  }
}

void Normaliser::operator()(std::span<const std::uint8_t> pixels, float* __restrict out) const {
  const std::uint8_t* __restrict in = pixels.data();
  const std::size_t whole = pixels.size() / kPeriod * kPeriod;
  for (std::size_t i = 0; i < whole; i += kPeriod)
    for (std::size_t j = 0; j < kPeriod; ++j) out[i + j] = static_cast<float>(in[i + j]) * scale_[j] + shift_[j];
  for (std::size_t i = whole; i < pixels.size(); ++i)
    out[i] = static_cast<float>(in[i]) * scale_[i - whole] + shift_[i - whole];
}

}  // namespace brigade::dataset
