#include "statistics.hpp"

#include <algorithm>
#include <cmath>

#include "brigade/core/error.hpp"

namespace brigade::benchmarks {

double quantile(std::vector<double> values, double q) {
  EXPECT(!values.empty() && q >= 0 && q <= 1);
  std::ranges::sort(values);
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

double geometric_mean(std::span<const double> values) {
  if (values.empty()) return 0;
  double logarithms = 0;
  for (const double value : values) logarithms += std::log(value);
  return std::exp(logarithms / static_cast<double>(values.size()));
}

Quantiles quantiles(const std::vector<double>& values) {
  return {.min = quantile(values, 0),
          .p10 = quantile(values, 0.1),
          .median = quantile(values, 0.5),
          .p90 = quantile(values, 0.9),
          .p99 = quantile(values, 0.99)};
}

}  // namespace brigade::benchmarks
