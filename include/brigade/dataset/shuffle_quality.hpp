/// How good an order of samples is, measured against a true shuffle.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "brigade/dataset/manifest.hpp"

namespace brigade::dataset {

struct ShuffleQuality {
  /// Pearson's chi-square of the batches' class counts against the classes' shares, averaged over the batches and
  /// divided by what draws without replacement give on average: 1 for a true shuffle, more if batches are one-sided.
  double imbalance = 0;
  /// How far that is from 1, in standard deviations of the average (chi-square of classes - 1 degrees of freedom).
  double imbalance_z = 0;
  /// Mean |difference| of the places in storage of one sample and the next, divided by (n + 1) / 3: 1 for a true
  /// shuffle.
  double neighbour_distance = 0;
  /// Share of samples that are followed by a neighbour in storage; 2 / n for a true shuffle.
  double neighbours = 0;
};

/// Of one epoch in batches of `batch`, the rest left out. `order(i)` is sample i of the epoch, `labels` of all samples.
/// Throws OptionError unless one batch fits.
ShuffleQuality measure_shuffle(const std::vector<std::int32_t>& labels, std::int64_t batch,
                               const std::function<std::int64_t(std::int64_t)>& order);

/// Labels of all samples of a split. Throws DataError.
std::vector<std::int32_t> read_labels(const std::filesystem::path& directory, const Manifest& manifest,
                                      const std::string& split);

}  // namespace brigade::dataset
