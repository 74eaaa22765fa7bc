// Between the executor's flat arrays and a model's named ones.
#include "brigade/core/error.hpp"
#include "brigade/network/zoo.hpp"
#include "brigade/training/checkpoint.hpp"

namespace brigade::training {
namespace {

std::vector<NamedArray> copy_out(const std::vector<network::FlatTensor>& layout, ConstTensorView flat,
                                 ops::Backend& backend) {
  std::vector<NamedArray> arrays;
  for (const auto& tensor : layout) {
    arrays.push_back({tensor.name, tensor.shape, std::vector<float>(static_cast<std::size_t>(tensor.size()))});
    backend.download(flat.f32() + tensor.offset, arrays.back().values.data(),
                     arrays.back().values.size() * sizeof(float));
  }
  return arrays;
}

void copy_in(const std::vector<NamedArray>& arrays, const std::vector<network::FlatTensor>& layout, TensorView flat,
             const std::string& network, ops::Backend& backend) {
  require(arrays.size() == layout.size(), "the model holds {} arrays where network {} has {} (another version?)",
          arrays.size(), network, layout.size());
  for (std::size_t i = 0; i < layout.size(); ++i) {
    require(arrays[i].name == layout[i].name && arrays[i].shape == layout[i].shape,
            "the model's array {} {} does not fit network {}, which has {} {} there (another version?)", arrays[i].name,
            to_string(arrays[i].shape), network, layout[i].name, to_string(layout[i].shape));
    backend.upload(arrays[i].values.data(), flat.f32() + layout[i].offset, arrays[i].values.size() * sizeof(float));
  }
}

}  // namespace

Model snapshot(const ModelInfo& info, network::Executor& executor, ops::Backend& backend) {
  return {.info = info,
          .parameters = copy_out(executor.parameters(), executor.weights(), backend),
          .statistics = copy_out(executor.statistics_layout(), executor.statistics(), backend)};
}

void restore(const Model& model, network::Executor& executor, ops::Backend& backend) {
  copy_in(model.parameters, executor.parameters(), executor.weights(), model.info.network, backend);
  copy_in(model.statistics, executor.statistics_layout(), executor.statistics(), model.info.network, backend);
}

network::Graph make_graph(const ModelInfo& info) {
  return network::make_network(info.network, {.height = info.height,
                                              .width = info.width,
                                              .channels = info.channels,
                                              .classes = static_cast<std::int64_t>(info.classes.size()),
                                              .dropout = {},
                                              .batch_norm_momentum = {},
                                              .width_multiplier = info.width_multiplier});
}

}  // namespace brigade::training
