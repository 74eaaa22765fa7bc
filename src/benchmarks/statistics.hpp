// What is reported of repeated measurements: quantiles, never the mean, because a shared machine
// only ever makes a repetition slower.
#pragma once

#include <span>
#include <vector>

namespace brigade::benchmarks {

// The value below which the share q of the values lies, linear between neighbours (R's type 7,
// numpy's default). `values` is not empty; q is in [0, 1].
double quantile(std::vector<double> values, double q);

// exp of the mean logarithm: the usual mean of rates and ratios (Fleming, Wallace, "How not to lie with
// statistics", CACM 1986). 0 for no values; all values are positive.
double geometric_mean(std::span<const double> values);

struct Quantiles {
  double min = 0, p10 = 0, median = 0, p90 = 0, p99 = 0;
};
Quantiles quantiles(const std::vector<double>& values);

}  // namespace brigade::benchmarks
