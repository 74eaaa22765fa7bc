// What network tests share: tensors across the door of a backend, and the synthetic data of tests/golden.
#pragma once

#include <cstdint>
#include <vector>

#include "brigade/network/executor.hpp"

namespace brigade::tests {

inline std::vector<float> read(ops::Backend& backend, const ConstTensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.shape.size()));
  backend.download(view.data, values.data(), view.bytes());
  backend.synchronize();
  return values;
}

inline void write(ops::Backend& backend, const TensorView& view, const std::vector<float>& values) {
  backend.upload(values.data(), view.data, view.bytes());
  backend.synchronize();
}

/// Noise: u8 pixels scaled to -1 ... 1, and labels; the same as in tests/golden/make_golden.py.
struct SyntheticBatch {
  std::vector<float> images;         // [n, h, w, c]
  std::vector<std::int32_t> labels;  // [n]

  SyntheticBatch(std::uint32_t number, std::int64_t n, const network::Graph& graph, std::uint64_t seed = 1)
      : images(static_cast<std::size_t>(n * graph.input().size())), labels(static_cast<std::size_t>(n)) {
    RandomKey key{.seed = seed, .purpose = Purpose::synthetic_data, .stream = 0, .position = number};
    for (std::size_t i = 0; i < images.size(); ++i)
      images[i] = (static_cast<float>(random_u32(key, i) >> 24) / 255.0F - 0.5F) / 0.5F;
    key.stream = 1;
    for (std::size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<std::int32_t>(random_u32(key, i) % static_cast<std::uint32_t>(graph.classes()));
  }

  std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
  /// All samples.
  network::MicroBatch all(std::int64_t step = 0) const { return part(0, size(), step); }
  /// Samples [first, first + n) of this, the global, batch.
  network::MicroBatch part(std::int64_t first, std::int64_t n, std::int64_t step = 0) const {
    const auto sample = static_cast<std::int64_t>(images.size()) / size();
    return {.images = images.data() + first * sample,
            .labels = labels.data() + first,
            .n = n,
            .first_sample = first,
            .step = step};
  }
};

inline double mean(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace brigade::tests
