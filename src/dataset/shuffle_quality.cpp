// The count of class c in a batch of b out of n samples without replacement is hypergeometric, with variance
// b p (1 - p) (n - b) / (n - 1) for a class of share p; so the mean of chi-square = sum over c of (count - b p)^2 / (b
// p) is (classes - 1) (n - b) / (n - 1).
#include "brigade/dataset/shuffle_quality.hpp"

#include <cmath>
#include <cstdlib>

#include "brigade/core/error.hpp"
#include "open_shard.hpp"

namespace brigade::dataset {
namespace {

double chi_square(const std::vector<double>& counts, const std::vector<double>& expected) {
  double sum = 0;
  for (std::size_t c = 0; c < counts.size(); ++c)
    if (expected[c] > 0) sum += (counts[c] - expected[c]) * (counts[c] - expected[c]) / expected[c];
  return sum;
}

}  // namespace

ShuffleQuality measure_shuffle(const std::vector<std::int32_t>& labels, std::int64_t batch,
                               const std::function<std::int64_t(std::int64_t)>& order) {
  const std::int64_t samples = std::ssize(labels);
  require<OptionError>(batch >= 1 && batch <= samples && samples >= 2,
                       "batches of {} cannot be measured in a split of {} samples. Use another --batch-size?", batch,
                       samples);
  std::vector<double> expected;  // in a batch
  for (const std::int32_t label : labels) {
    if (static_cast<std::size_t>(label) >= expected.size()) expected.resize(static_cast<std::size_t>(label) + 1);
    expected[static_cast<std::size_t>(label)] += static_cast<double>(batch) / static_cast<double>(samples);
  }
  double classes = 0;
  for (const double count : expected) classes += count > 0 ? 1 : 0;

  const std::int64_t batches = samples / batch;
  ShuffleQuality quality;
  double chi = 0, distance = 0, neighbours = 0;
  std::int64_t before = order(0);
  for (std::int64_t b = 0; b < batches; ++b) {
    std::vector<double> counts(expected.size());
    for (std::int64_t i = b * batch; i < (b + 1) * batch; ++i) {
      const std::int64_t sample = order(i);
      ++counts[static_cast<std::size_t>(labels[static_cast<std::size_t>(sample)])];
      const std::int64_t step = std::abs(sample - before);
      distance += static_cast<double>(step);
      neighbours += step == 1 ? 1 : 0;
      before = sample;
    }
    chi += chi_square(counts, expected);
  }
  const auto n = static_cast<double>(samples), steps = static_cast<double>(batches * batch - 1);
  quality.neighbour_distance = distance / steps / ((n + 1) / 3);
  quality.neighbours = neighbours / steps;
  if (classes < 2 || batch == samples) return quality.imbalance = 1, quality;
  const double typical = (classes - 1) * (n - static_cast<double>(batch)) / (n - 1);
  quality.imbalance = chi / static_cast<double>(batches) / typical;
  quality.imbalance_z = (quality.imbalance - 1) / std::sqrt(2 / (classes - 1) / static_cast<double>(batches));
  return quality;
}

std::vector<std::int32_t> read_labels(const std::filesystem::path& directory, const Manifest& manifest,
                                      const std::string& split) {
  std::vector<std::int32_t> labels;
  for (const auto& info : manifest.split(split).shards) {
    const auto shard = open_shard(directory, manifest, split, info);
    labels.insert(labels.end(), shard.labels().begin(), shard.labels().end());
  }
  return labels;
}

}  // namespace brigade::dataset
