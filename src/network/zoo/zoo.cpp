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
    ZooEntry{"alexnet", "5 convolutions in two towers, response norm, dense 4096 twice; images 224x224x3", alexnet},
    ZooEntry{"densenet121", "dense blocks of 6, 12, 24, 16 layers; images 224x224x3", densenet121},
    ZooEntry{"densenet169", "dense blocks of 6, 12, 32, 32 layers; images 224x224x3", densenet169},
    ZooEntry{"densenet201", "dense blocks of 6, 12, 48, 32 layers; images 224x224x3", densenet201},
    ZooEntry{"fashion-cnn", "2 convolutions 5x5 with batch norm, dense 128; images 28x28x1", fashion_cnn},
    ZooEntry{"inception-resnet-v2", "Inception blocks with residual connections; images 299x299x3",
             inception_resnet_v2},
    ZooEntry{"inception-v3", "parallel convolutions, 7x7 as 1x7 and 7x1; images 299x299x3", inception_v3},
    ZooEntry{"lenet5", "LeNet-5 with ReLU and max-pooling; images 28x28x1", lenet5},
    ZooEntry{"mobilenet", "MobileNet v1: depthwise separable convolutions; images 224x224x3", mobilenet, true},
    ZooEntry{"mobilenet-v2", "inverted residuals, linear bottlenecks; images 224x224x3", mobilenet_v2, true},
    ZooEntry{"resnet18", "8 residual blocks of 2 convolutions; images 224x224x3", resnet18},
    ZooEntry{"resnet34", "16 residual blocks of 2 convolutions; images 224x224x3", resnet34},
    ZooEntry{"resnet50", "version 1, 16 residual blocks of 3 convolutions; images 224x224x3", resnet50},
    ZooEntry{"resnet9", "8 convolutions, 2 residual blocks, fast to train; images 32x32x3", resnet9},
    ZooEntry{"tiny-model1", "4 convolutions 3x3, dropout, dense 512; images 64x64x3", tiny_model1},
    ZooEntry{"tiny-model2", "6 convolutions 3x3 with batch norm and dropout, dense 512 and 1024; images 64x64x3",
             tiny_model2},
    ZooEntry{"vgg16", "13 convolutions 3x3, dense 4096 twice; images 224x224x3", vgg16},
    ZooEntry{"wide-resnet-28-10", "12 wide residual blocks before norm and ReLU; images 32x32x3", wide_resnet_28_10,
             true},
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

void set_batch_norm_momentum(Graph& graph, float momentum) {
  require<OptionError>(momentum >= 0 && momentum < 1, "the batch-norm momentum of {} must lie in [0, 1), not {}",
                       graph.name, momentum);
  bool found = false;
  for (Node& node : graph.nodes) {
    if (!std::holds_alternative<ops::BatchNorm>(node.operation)) continue;
    node.momentum = momentum;
    found = true;
  }
  require<OptionError>(found, "{} has no batch norm (a momentum of {} would do nothing). Leave the momentum out?",
                       graph.name, momentum);
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
  require<OptionError>(options.width_multiplier > 0 && options.width_multiplier <= 16,
                       "the width multiplier of {} cannot be {} (above 0 and at most 16)", name,
                       options.width_multiplier);
  require<OptionError>(options.width_multiplier == 1 || entry->has_width,
                       "{} has no width multiplier ({} would do nothing). Leave it out?", name,
                       options.width_multiplier);
  Graph graph = entry->make(options);
  require<OptionError>(!options.dropout || has_dropout(graph),
                       "{} has no dropout layer (a rate of {} would do nothing). Leave the rate out?", name,
                       options.dropout.value_or(0));
  if (options.batch_norm_momentum) set_batch_norm_momentum(graph, *options.batch_norm_momentum);
  return graph;
}

}  // namespace brigade::network
