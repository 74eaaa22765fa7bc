#include "brigade/network/zoo.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "brigade/core/error.hpp"
#include "networks.hpp"

namespace brigade::network {
namespace {

constexpr std::array kZoo = {
    ZooEntry{"fashion-cnn", "2 convolutions 5x5 with batch norm, dense 128; images 28x28x1", fashion_cnn},
    ZooEntry{"lenet5", "LeNet-5 with ReLU and max-pooling; images 28x28x1", lenet5},
    ZooEntry{"tiny-model1", "4 convolutions 3x3, dropout, dense 512; images 64x64x3", tiny_model1},
    ZooEntry{"tiny-model2", "6 convolutions 3x3 with batch norm and dropout, dense 512 and 1024; images 64x64x3",
             tiny_model2},
};

// Levenshtein distance: insertions, deletions and exchanges of a letter that turn a into b.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t exchange = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({exchange, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::string names_nearest_first(std::string_view wanted) {
  std::vector<std::string_view> names(kZoo.size());
  std::ranges::transform(kZoo, names.begin(), &ZooEntry::name);
  std::ranges::stable_sort(names, {}, [&](std::string_view name) { return edit_distance(wanted, name); });
  return fmt::format("{}", fmt::join(names, ", "));
}

bool has_dropout(const Graph& graph) {
  return std::ranges::any_of(graph.nodes,
                             [](const Node& node) { return std::holds_alternative<ops::Dropout>(node.operation); });
}

}  // namespace

std::span<const ZooEntry> zoo() { return kZoo; }

Graph make_network(const std::string& name, const NetworkOptions& options) {
  const auto* entry = std::ranges::find(kZoo, name, &ZooEntry::name);
  require<OptionError>(entry != kZoo.end(), "there is no network '{}'. Choose one of: {}?", name,
                       names_nearest_first(name));
  Graph graph = entry->make(options);
  require<OptionError>(!options.dropout || has_dropout(graph),
                       "{} has no dropout layer (a rate of {} would do nothing). Leave the rate out?", name,
                       options.dropout.value_or(0));
  return graph;
}

}  // namespace brigade::network
