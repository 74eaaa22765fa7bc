/// The networks Brigade knows, by name.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "brigade/network/graph.hpp"

namespace brigade::network {

struct NetworkOptions {
  std::int64_t height = 0, width = 0, channels = 0;  ///< of the images; 0: the network's usual size
  std::int64_t classes = 0;                          ///< 0: as published
  std::optional<float> dropout = {};                 ///< instead of the network's own rate
  std::optional<float> batch_norm_momentum = {};     ///< of running averages, instead of the network's own
  double width_multiplier = 1;                       ///< scales the filters, where the paper does so
};

struct ZooEntry {
  std::string_view name, description;
  Graph (*make)(const NetworkOptions& options);
  bool has_width = false;  ///< takes a width multiplier
};

/// All entries, by name.
std::span<const ZooEntry> zoo();

/// Throws OptionError for an unknown name, listing the known ones (the nearest first).
Graph make_network(const std::string& name, const NetworkOptions& options = {});

}  // namespace brigade::network
