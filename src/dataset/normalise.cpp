#include "normalise.hpp"

#include "brigade/core/error.hpp"

namespace brigade::dataset {
namespace {

template <std::size_t kPeriod, class In, class Out>
void normalise(std::span<const In> levels, const std::array<float, kPeriod>& scale,
               const std::array<float, kPeriod>& shift, Out* __restrict out) {
  const In* __restrict in = levels.data();
  const std::size_t whole = levels.size() / kPeriod * kPeriod;
  for (std::size_t i = 0; i < whole; i += kPeriod)
    for (std::size_t j = 0; j < kPeriod; ++j) out[i + j] = static_cast<float>(in[i + j]) * scale[j] + shift[j];
  for (std::size_t i = whole; i < levels.size(); ++i)
    out[i] = static_cast<float>(in[i]) * scale[i - whole] + shift[i - whole];
}

}  // namespace

Normaliser::Normaliser(const std::array<float, 3>& mean, const std::array<float, 3>& stddev, std::int64_t channels) {
  EXPECT(channels == 1 || channels == 3);
  for (std::size_t i = 0; i < kPeriod; ++i) {
    const std::size_t c = i % static_cast<std::size_t>(channels);
    scale_[i] = static_cast<float>(1.0 / (255.0 * stddev[c]));
    shift_[i] = static_cast<float>(-static_cast<double>(mean[c]) / stddev[c]);
  }
}

void Normaliser::operator()(std::span<const std::uint8_t> pixels, float* out) const {
  normalise<kPeriod>(pixels, scale_, shift_, out);
}
void Normaliser::operator()(std::span<const float> levels, float* out) const {
  normalise<kPeriod>(levels, scale_, shift_, out);
}

}  // namespace brigade::dataset
