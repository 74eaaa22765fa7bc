#include "workspace.hpp"

#include <algorithm>
#include <utility>

#include "nodes.hpp"

namespace brigade::network {
namespace {

// Channels of the widest batch norm that learns no gamma.
std::int64_t widest_unscaled(const Graph& graph) {
  std::int64_t widest = 0;
  for (const Node& node : graph.nodes)
    if (!node.scale) widest = std::max(widest, channels(node));
  return widest;
}

std::size_t most_inputs(const Graph& graph) {
  return std::ranges::max(graph.nodes, {}, [](const Node& node) { return node.inputs.size(); }).inputs.size();
}

// Channels of the widest batch norm.
std::int64_t widest_norm(const Graph& graph) {
  std::int64_t widest = 0;
  for (const Node& node : graph.nodes)
    if (is<ops::BatchNorm>(node)) widest = std::max(widest, channels(node));
  return widest;
}

Buffer allocate_floats(MemoryResource& memory, std::int64_t floats) {
  return Buffer(memory, static_cast<std::size_t>(floats) * sizeof(float));
}

// In a group, what centres a gradient comes from all members' sums, which only a batch norm exchanges.
Passes passes_of(const ExecutorOptions& options) {
  Passes passes = options.passes;
  if (options.batch_norm_group != nullptr) passes.gradient_through = false;
  return passes;
}

// A backend that computes in the host's memory reads the caller's images where they are.
Images images_for(ops::Backend& backend) {
  return &backend.memory() == &host_memory() ? Images::borrowed : Images::uploaded;
}

TensorView view_of(const Buffer& buffer, const FlatTensor& tensor, std::int64_t first = 0) {
  return {buffer.as<float>() + first + tensor.offset, tensor.shape};
}

TensorView row(const Buffer& buffer, std::int64_t first, std::int64_t channels) {
  return {buffer.as<float>() + first, {channels}};
}

}  // namespace

std::size_t index_of(const Graph& graph, const Node& node) {
  return static_cast<std::size_t>(std::ranges::find(graph.nodes, node.name, &Node::name) - graph.nodes.begin());
}

Program::Program(const Graph& graph, const ExecutorOptions& options, bool training, Images images)
    : schedule(make_schedule(graph, training, passes_of(options), options.precision)),
      plan(plan_memory(schedule, options.max_batch, images)) {
  for (const Node& node : schedule.graph.nodes) given.push_back(index_of(graph, node));
}

Workspace::Workspace(const Graph& graph, const ExecutorOptions& options, ops::Backend& backend)
    : graph_(graph),
      layout_(flat_layout(graph)),
      options_(options),
      where_images_(images_for(backend)),
      evaluation_(graph, options, false, where_images_),
      training_(options.training ? std::optional<Program>(std::in_place, graph, options, true, where_images_)
                                 : std::nullopt),
      arena_(backend.memory(), static_cast<std::size_t>(arena_bytes())),
      weights_(allocate_floats(backend.memory(), layout_.parameter_count)),
      statistics_(allocate_floats(backend.memory(), layout_.statistics_count)),
      reduction_(
          allocate_floats(options.reduction_memory ? *options.reduction_memory : backend.memory(), reduction_size())),
      unit_gamma_(allocate_floats(backend.memory(), widest_unscaled(graph))),
      unused_gradient_(allocate_floats(backend.memory(), widest_unscaled(graph))),
      group_gradients_(
          allocate_floats(backend.memory(), options.batch_norm_group != nullptr ? 2 * widest_norm(graph) : 0)),
      inputs_(most_inputs(graph)),
      input_gradients_(most_inputs(graph)),
      kept_weights_(options.training ? 0 : evaluation_.schedule.graph.nodes.size()) {
  const std::vector<float> w = initial_weights(layout_, options.seed);
  const std::vector<float> s = initial_statistics(layout_);
  const std::vector<float> ones(static_cast<std::size_t>(widest_unscaled(graph)), 1.0F);
  backend.upload(w.data(), weights_.data(), w.size() * sizeof(float));
  backend.upload(s.data(), statistics_.data(), s.size() * sizeof(float));
  backend.upload(ones.data(), unit_gamma_.data(), ones.size() * sizeof(float));
  backend.synchronize();  // w, s and ones end here
}

TensorView Workspace::parameter(std::size_t index) const { return view_of(weights_, layout_.parameters[index]); }
TensorView Workspace::statistic(std::size_t index) const { return view_of(statistics_, layout_.statistics[index]); }

void Workspace::begin(const Program& program, const MicroBatch& batch) {
  program_ = &program;
  borrowed_images_ = batch.images;
  n_ = batch.n;
  first_sample_ = batch.first_sample;
  step_ = batch.step;
}

TensorView Workspace::at(const Place& place, const Shape& shape, DType type) const {
  if (!place) return {};
  const Block& block = plan().blocks[static_cast<std::size_t>(place.block)];
  if (block.borrowed) return {const_cast<float*>(borrowed_images_), shape};  // NOLINT: by the plan, nobody writes there
  const auto skipped = static_cast<std::int64_t>(size_of(type)) * place.channel;
  return {arena_.as<std::byte>() + block.offset + skipped, shape, type, place.pitch};
}

TensorView Workspace::value(NodeId id, bool again) const {
  const NodeId stored = schedule().stored(id);
  const bool second = again && blocks(stored).again;
  return at(second ? blocks(stored).again : blocks(stored).value, node(stored).output.with_batch(n_), type(stored));
}

TensorView Workspace::gradient(NodeId id) const {
  return at(blocks(id).gradient, node(id).output.with_batch(n_), type(id));
}

// The ranges of the two rows in a block that belong to x.
std::array<TensorView, 2> Workspace::per_channel(const Place& place, NodeId x) const {
  const std::int64_t own = channels(node(x)), width = place.pitch > 0 ? place.pitch : own;
  return {at({.block = place.block, .channel = place.channel}, {own}),
          at({.block = place.block, .channel = place.channel + width}, {own})};
}

std::array<TensorView, 2> Workspace::running_statistics(NodeId norm) const {
  std::array<TensorView, 2> views;
  const NodeTensors& own = tensors(norm);
  for (std::size_t slot = 0; slot < own.statistics; ++slot) views[slot] = statistic(own.first_statistic + slot);
  return views;
}

// What is viewed of each parameter of a layer; of a gamma that is not learnt it is `gamma`.
template <class ViewOf>
std::array<TensorView, 2> Workspace::slots(NodeId id, const Buffer& gamma, const ViewOf& view) const {
  std::array<TensorView, 2> views;
  const NodeTensors& own = tensors(id);
  const std::size_t first = node(id).scale ? 0 : 1;
  if (first == 1) views[0] = row(gamma, 0, channels(node(id)));
  for (std::size_t slot = 0; slot < own.parameters; ++slot) views[first + slot] = view(own.first_parameter + slot);
  return views;
}

std::array<TensorView, 2> Workspace::parameters(NodeId id) const {
  std::array<TensorView, 2> views = slots(id, unit_gamma_, [&](std::size_t i) { return parameter(i); });
  if (const int fold = schedule().at(id).fold; fold >= 0) {
    const Fold& own_fold = schedule().folds[static_cast<std::size_t>(fold)];
    const TensorView all = at(plan().folded_weights, {schedule().folded_count});
    views = {TensorView(all.f32() + own_fold.kernel, views[0].shape),
             TensorView(all.f32() + own_fold.bias, {channels(node(id))})};
  }
  return views;
}

// Of the parameters; that of a gamma that is not learnt goes nowhere.
std::array<TensorView, 2> Workspace::gradients(NodeId id) const {
  return slots(id, unused_gradient_,
               [&](std::size_t i) { return view_of(reduction_, layout_.parameters[i], gradients_offset()); });
}

// What a batch norm does to its input.
ops::Normalisation Workspace::normalisation(NodeId norm) const {
  const auto& op = std::get<ops::BatchNorm>(node(norm).operation);
  const std::array<TensorView, 2> affine = parameters(norm);
  const std::array<TensorView, 2> moments =
      pass() == Pass::training ? batch_statistics(node(norm).inputs.front()) : running_statistics(norm);
  return {.gamma = affine[0],
          .beta = affine[1],
          .mean = moments[0],
          .variance = moments[1],
          .epsilon = op.epsilon,
          .activation = op.activation};
}

// What the convolution that reads a batch norm does in its stead.
ops::GradientThrough Workspace::gradient_through(NodeId norm, bool add) const {
  const NodeId x = node(norm).inputs.front();
  const std::array<TensorView, 2> own = gradients(norm), left = rest(x);
  return {.x = value(x, true),
          .by = normalisation(norm),
          .dgamma = own[0],
          .dbeta = own[1],
          .offset = left[0],
          .slope = left[1],
          .add = add,
          .add_rest = schedule().at(norm).adds_rest};
}

// What the convolution that finishes the gradient of x does.
ops::SharedGradient Workspace::shared_gradient(NodeId x, bool add) const {
  ops::SharedGradient shared{.finishes = true, .add = add};
  if (!is<ops::Add>(node(x))) return shared;
  shared.activation = activation_of(node(x));
  std::size_t count = 0;
  for (const NodeId norm : node(x).inputs) {
    if (!schedule().at(norm).sums_given) continue;
    const NodeId z = node(norm).inputs.front();
    const std::array<TensorView, 2> own = gradients(norm), moments = batch_statistics(z);
    shared.norms[count++] = {.z = value(z, true),
                             .mean = moments[0],
                             .variance = moments[1],
                             .epsilon = std::get<ops::BatchNorm>(node(norm).operation).epsilon,
                             .dgamma = own[0],
                             .dbeta = own[1]};
  }
  return shared;
}

// What the convolution that makes a sum does in its stead.
ops::Conv2d::MadeSum Workspace::made_sum(NodeId sum) const {
  ops::Conv2d::MadeSum made{
      .op = std::get<ops::Add>(node(sum).operation),
      .tensors = {
          .a = value(node(sum).inputs[0], false), .b = value(node(sum).inputs[1], false), .y = value(sum, false)}};
  const auto normalisation_of = [&](NodeId input) {
    return schedule().at(input).normalised_on_read ? normalisation(input) : ops::Normalisation{};
  };
  made.tensors.of_a = normalisation_of(node(sum).inputs[0]);
  made.tensors.of_b = normalisation_of(node(sum).inputs[1]);
  return made;
}

// What the convolution before a batch norm does in its stead in backward.
ops::Conv2d::MadeGradient Workspace::made_gradient(NodeId norm) const {
  const NodeId x = node(norm).inputs.front();
  const std::array<TensorView, 2> affine = parameters(norm), own = gradients(norm), moments = batch_statistics(x);
  return {.op = std::get<ops::BatchNorm>(node(norm).operation),
          .tensors = {.x = value(x, true),
                      .gamma = affine[0],
                      .beta = affine[1],
                      .mean = moments[0],
                      .variance = moments[1],
                      .dy = gradient(norm),
                      .dx = gradient(x),
                      .dgamma = own[0],
                      .dbeta = own[1],
                      .sums = ops::BatchNorm::Sums::given}};
}

Layer Workspace::layer(NodeId id, bool again) {
  const Node& own = node(id);
  const Shape shape = own.output.with_batch(n_);
  const std::size_t count = own.inputs.size();
  Layer l{.inputs = {inputs_.data(), count},
          .input_gradients = {input_gradients_.data(), count},
          .y = schedule().at(id).normalised_on_read ? TensorView{} : value(id, again),
          .dy = gradient(id),
          .winners = at(blocks(id).winners, shape, DType::u8),
          .weights = parameters(id),
          .kept = kept_weights_.empty() ? nullptr : &kept_weights_[static_cast<std::size_t>(id)]};
  for (std::size_t i = 0; i < count; ++i) {
    inputs_[i] = value(own.inputs[i], again);
    input_gradients_[i] = {};
    if (i < blocks(id).input_gradients.size())
      input_gradients_[i] = at(blocks(id).input_gradients[i].place, inputs_[i].shape, type(own.inputs[i]));
    input_gradients_[i].shape = inputs_[i].shape;
    if (i < l.of_inputs.size() && schedule().at(own.inputs[i]).normalised_on_read)
      l.of_inputs[i] = normalisation(own.inputs[i]);
  }
  if (count > 0) {
    l.x = inputs_.front();
    l.dx = input_gradients_.front();
  }
  if (is<ops::BatchNorm>(own)) l.running = running_statistics(id);
  if (const NodeId sum = schedule().made_sum(id); !again && sum >= 0) l.made_x = made_sum(sum);
  if (pass() == Pass::training) add_training(l, id, again);
  l.mask = {.key = {.seed = options_.seed,
                    .purpose = Purpose::dropout,
                    .stream = static_cast<std::uint32_t>(given(id)),
                    .position = static_cast<std::uint32_t>(step_)},
            .first_sample = first_sample_};
  return l;
}

void Workspace::add_training(Layer& l, NodeId id, bool again) {
  l.gradients = gradients(id);
  l.group = options_.batch_norm_group;
  if (const NodeId norm = schedule().taken_through(id); again && norm >= 0)
    l.through = gradient_through(norm, blocks(id).input_gradients.front().add);
  if (const NodeId x = schedule().finished(id); again && x >= 0)
    l.shared = shared_gradient(x, blocks(id).input_gradients.front().add);
  if (const NodeId norm = schedule().made_norm(id); again && norm >= 0) l.made_dy = made_gradient(norm);
  l.finished = is<ops::BatchNorm>(node(id)) ? schedule().at(id).sums_given : schedule().at(id).finished_by >= 0;
  l.bias_cancels = schedule().at(id).bias_cancels;
  if (schedule().at(id).stores_statistics) l.batch = batch_statistics(id);
  if (is<ops::BatchNorm>(node(id))) add_statistics(l, id);
  measurements_.clear();
  for (const NodeId x : schedule().at(id).measures) measurements_.push_back({value(x), batch_statistics(x)});
  l.measures = measurements_;
}

void Workspace::add_statistics(Layer& l, NodeId norm) const {
  const std::int64_t own = channels(node(norm));
  if (l.group != nullptr) l.group_gradients = {row(group_gradients_, 0, own), row(group_gradients_, own, own)};
  l.batch = batch_statistics(node(norm).inputs.front());
  const NodeTensors& t = tensors(norm);
  for (std::size_t slot = 0; slot < t.statistics; ++slot)
    l.reduced[slot] = view_of(reduction_, layout_.statistics[t.first_statistic + slot], options_.reduction_header);
}

void Workspace::forget_kept_weights() {
  for (ops::KeptWeights& kept : kept_weights_) kept.clear();
}

}  // namespace brigade::network
