// A pass is a walk over the nodes: forward in order, backward in reverse; each node's views are cut from the arena
// and the flat arrays on the way (layers.cpp says what is done with them). Training and evaluation have a program each,
// in the same arena. Nothing is allocated after the constructor.
#include "brigade/network/executor.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "brigade/core/error.hpp"
#include "folded_weights.hpp"
#include "layers.hpp"
#include "memory_plan.hpp"
#include "nodes.hpp"
#include "parameters.hpp"

namespace brigade::network {
namespace {

TensorView flat_view(const Buffer& buffer, std::int64_t offset, const Shape& shape) {
  return {buffer.as<float>() + offset, shape};
}

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

std::size_t index_of(const Graph& graph, const Node& node) {
  return static_cast<std::size_t>(std::ranges::find(graph.nodes, node.name, &Node::name) - graph.nodes.begin());
}

// In a group, what centres a gradient comes from all members' sums, which only a batch norm exchanges.
Passes passes_of(const ExecutorOptions& options) {
  Passes passes = options.passes;
  if (options.batch_norm_group != nullptr) passes.gradient_through = false;
  return passes;
}

// What one kind of pass computes, and where.
struct Program {
  Program(const Graph& graph, const ExecutorOptions& options, bool training)
      : schedule(make_schedule(graph, training, passes_of(options), options.precision)),
        plan(plan_memory(schedule, options.max_batch)) {
    for (const Node& node : schedule.graph.nodes) given.push_back(index_of(graph, node));
  }

  Schedule schedule;
  MemoryPlan plan;
  // By NodeId: index in the graph as given. It finds the parameters, and keys dropout, so that passes change no draw.
  std::vector<std::size_t> given;
};

}  // namespace

struct Executor::Impl {
  Impl(const Graph& given, ops::Backend& target, const ExecutorOptions& wanted)
      : graph(given),
        layout(flat_layout(graph)),
        options(wanted),
        evaluation(graph, wanted, false),
        training(wanted.training ? std::optional<Program>(std::in_place, graph, wanted, true) : std::nullopt),
        backend(target),
        arena(backend.memory(), static_cast<std::size_t>(arena_bytes())),
        weights(allocate_floats(backend.memory(), layout.parameter_count)),
        statistics(allocate_floats(backend.memory(), layout.statistics_count)),
        reduction(
            allocate_floats(options.reduction_memory ? *options.reduction_memory : backend.memory(), reduction_size())),
        unit_gamma(allocate_floats(backend.memory(), widest_unscaled(graph))),
        unused_gradient(allocate_floats(backend.memory(), widest_unscaled(graph))),
        group_gradients(
            allocate_floats(backend.memory(), options.batch_norm_group != nullptr ? 2 * widest_norm(graph) : 0)),
        mixed_labels(backend.memory(), training ? bytes_of_labels() : 0),
        label_share(backend.memory(), training ? bytes_of_labels() : 0),
        inputs(most_inputs(graph)),
        input_gradients(most_inputs(graph)),
        kept_weights(training ? 0 : evaluation.schedule.graph.nodes.size()),
        host_loss(static_cast<std::size_t>(options.max_batch)),
        host_label_rank(static_cast<std::size_t>(options.max_batch)),
        host_probabilities(static_cast<std::size_t>(options.max_batch * graph.classes())) {
    const std::vector<float> w = initial_weights(layout, options.seed);
    const std::vector<float> s = initial_statistics(layout);
    backend.upload(w.data(), weights.data(), w.size() * sizeof(float));
    backend.upload(s.data(), statistics.data(), s.size() * sizeof(float));
    const std::vector<float> ones(static_cast<std::size_t>(widest_unscaled(graph)), 1.0F);
    backend.upload(ones.data(), unit_gamma.data(), ones.size() * sizeof(float));
    backend.synchronize();  // w, s and ones end here
  }

  // Of the program at work:
  const Schedule& schedule() const { return program->schedule; }
  const MemoryPlan& plan() const { return program->plan; }
  Pass pass() const { return schedule().training ? Pass::training : Pass::evaluation; }
  NodeId last_node() const { return schedule().end() - 1; }
  const Node& node(NodeId id) const { return schedule().node(id); }
  const NodeBlocks& blocks(NodeId id) const { return plan().nodes[static_cast<std::size_t>(id)]; }
  std::size_t given(NodeId id) const { return program->given[static_cast<std::size_t>(id)]; }
  const NodeTensors& tensors(NodeId id) const { return layout.nodes[given(id)]; }

  std::int64_t arena_bytes() const {
    return training ? std::max(training->plan.bytes, evaluation.plan.bytes) : evaluation.plan.bytes;
  }
  std::int64_t gradients_offset() const { return options.reduction_header + layout.statistics_count; }
  std::int64_t reduction_size() const {
    return training ? gradients_offset() + layout.parameter_count : options.reduction_header;
  }
  std::size_t bytes_of_labels() const { return static_cast<std::size_t>(options.max_batch) * sizeof(std::int32_t); }

  TensorView arena_view(const Place& place, const Shape& shape, DType type = DType::f32) const;
  DType type(NodeId id) const { return schedule().at(id).type; }
  TensorView value(NodeId id, bool again = false) const;
  TensorView gradient(NodeId id) const {
    return arena_view(blocks(id).gradient, node(id).output.with_batch(n), type(id));
  }
  std::array<TensorView, 2> per_channel(const Place& place, NodeId x) const;
  std::array<TensorView, 2> batch_statistics(NodeId x) const { return per_channel(blocks(x).statistics, x); }
  std::array<TensorView, 2> rest(NodeId x) const { return per_channel(blocks(x).rest, x); }
  std::array<TensorView, 2> running_statistics(NodeId norm) const;
  std::array<TensorView, 2> parameters(NodeId id) const;
  std::array<TensorView, 2> gradients(NodeId id) const;
  ops::Normalisation normalisation(NodeId norm) const;
  ops::GradientThrough gradient_through(NodeId norm, bool add) const;
  Layer layer(NodeId id, bool again = false);
  void add_gradients(NodeId id);
  void fold();

  void start(const Program& wanted, const MicroBatch& batch);
  void upload(const MicroBatch& batch);
  ops::SoftmaxCrossEntropy::Mixed mixed() const;
  void run_forward();
  void run_backward(NodeId id);
  void run_backward(float scale, const std::function<void(std::int64_t)>& gradient_ready);

  const Graph graph;  // as given
  const FlatLayout layout;
  const ExecutorOptions options;
  const Program evaluation;
  const std::optional<Program> training;
  ops::Backend& backend;
  Buffer arena, weights, statistics, reduction;
  const Buffer unit_gamma, unused_gradient;  // of batch norms that learn no gamma
  const Buffer group_gradients;              // of the batch norm at work, with a group
  const Buffer mixed_labels, label_share;    // i32 and f32 [max_batch], in training
  std::vector<ConstTensorView> inputs;       // of the layer at work
  std::vector<TensorView> input_gradients;
  std::vector<Measurement> measurements;
  // By NodeId of the evaluation. Only if there is no training: it evaluates in large batches, which need not keep what
  // costs as much memory as the weights.
  std::vector<ops::KeptWeights> kept_weights;
  std::vector<float> host_loss;
  std::vector<std::int32_t> host_label_rank;
  std::vector<float> host_probabilities;

  // Of the last pass:
  const Program* program = &evaluation;
  std::int64_t n = 0, first_sample = 0, step = 0;
  bool has_mixed = false;  // its images have two labels
  enum class State { fresh, forward_done, backward_done, evaluated } state = State::fresh;
  bool folded = false;  // the folded weights, and those kept, are those of now
};

TensorView Executor::Impl::arena_view(const Place& place, const Shape& shape, DType type) const {
  if (!place) return {};
  const std::int64_t offset = plan().blocks[static_cast<std::size_t>(place.block)].offset;
  const auto skipped = static_cast<std::int64_t>(size_of(type)) * place.channel;
  return {arena.as<std::byte>() + offset + skipped, shape, type, place.pitch};
}

// `again`: as it is read in backward. A batch norm normalised on read is its input.
TensorView Executor::Impl::value(NodeId id, bool again) const {
  const NodeId stored = schedule().stored(id);
  const bool second = again && blocks(stored).again;
  return arena_view(second ? blocks(stored).again : blocks(stored).value, node(stored).output.with_batch(n),
                    type(stored));
}

// The ranges of the two rows in a block that belong to x.
std::array<TensorView, 2> Executor::Impl::per_channel(const Place& place, NodeId x) const {
  const std::int64_t own = channels(node(x)), row = place.pitch > 0 ? place.pitch : own;
  return {arena_view({.block = place.block, .channel = place.channel}, {own}),
          arena_view({.block = place.block, .channel = place.channel + row}, {own})};
}

std::array<TensorView, 2> Executor::Impl::running_statistics(NodeId norm) const {
  std::array<TensorView, 2> views;
  const NodeTensors& own = tensors(norm);
  for (std::size_t slot = 0; slot < own.statistics; ++slot) {
    const FlatTensor& tensor = layout.statistics[own.first_statistic + slot];
    views[slot] = flat_view(statistics, tensor.offset, tensor.shape);
  }
  return views;
}

// Kernel and bias, or gamma and beta. A gamma that is not learnt is 1.
std::array<TensorView, 2> Executor::Impl::parameters(NodeId id) const {
  std::array<TensorView, 2> views;
  const NodeTensors& own = tensors(id);
  const std::size_t first = node(id).scale ? 0 : 1;
  if (first == 1) views[0] = flat_view(unit_gamma, 0, {channels(node(id))});
  for (std::size_t slot = 0; slot < own.parameters; ++slot) {
    const FlatTensor& tensor = layout.parameters[own.first_parameter + slot];
    views[first + slot] = flat_view(weights, tensor.offset, tensor.shape);
  }
  if (const int fold = schedule().at(id).fold; fold >= 0) {
    const Fold& own_fold = schedule().folds[static_cast<std::size_t>(fold)];
    const TensorView all = arena_view(plan().folded_weights, {schedule().folded_count});
    views = {TensorView(all.f32() + own_fold.kernel, views[0].shape),
             TensorView(all.f32() + own_fold.bias, {channels(node(id))})};
  }
  return views;
}

// Of the parameters; that of a gamma that is not learnt goes nowhere.
std::array<TensorView, 2> Executor::Impl::gradients(NodeId id) const {
  std::array<TensorView, 2> views;
  const NodeTensors& own = tensors(id);
  const std::size_t first = node(id).scale ? 0 : 1;
  if (first == 1) views[0] = flat_view(unused_gradient, 0, {channels(node(id))});
  for (std::size_t slot = 0; slot < own.parameters; ++slot) {
    const FlatTensor& tensor = layout.parameters[own.first_parameter + slot];
    views[first + slot] = flat_view(reduction, gradients_offset() + tensor.offset, tensor.shape);
  }
  return views;
}

// What a batch norm does to its input.
ops::Normalisation Executor::Impl::normalisation(NodeId norm) const {
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
ops::GradientThrough Executor::Impl::gradient_through(NodeId norm, bool add) const {
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

Layer Executor::Impl::layer(NodeId id, bool again) {
  const Node& own = node(id);
  const Shape shape = own.output.with_batch(n);
  const std::size_t count = own.inputs.size();
  Layer l{.inputs = {inputs.data(), count},
          .input_gradients = {input_gradients.data(), count},
          .y = schedule().at(id).normalised_on_read ? TensorView{} : value(id, again),
          .dy = gradient(id),
          .winners = arena_view(blocks(id).winners, shape, DType::u8),
          .weights = parameters(id),
          .kept = kept_weights.empty() ? nullptr : &kept_weights[static_cast<std::size_t>(id)]};
  for (std::size_t i = 0; i < count; ++i) {
    inputs[i] = value(own.inputs[i], again);
    input_gradients[i] = {};
    if (i < blocks(id).input_gradients.size())
      input_gradients[i] = arena_view(blocks(id).input_gradients[i].place, inputs[i].shape, type(own.inputs[i]));
    input_gradients[i].shape = inputs[i].shape;
    if (i < l.of_inputs.size() && schedule().at(own.inputs[i]).normalised_on_read)
      l.of_inputs[i] = normalisation(own.inputs[i]);
  }
  if (count > 0) {
    l.x = inputs.front();
    l.dx = input_gradients.front();
  }
  if (is<ops::BatchNorm>(own)) l.running = running_statistics(id);
  if (pass() == Pass::training) {
    l.gradients = gradients(id);
    l.group = options.batch_norm_group;
    if (const NodeId norm = schedule().taken_through(id); again && norm >= 0)
      l.through = gradient_through(norm, blocks(id).input_gradients.front().add);
    if (schedule().at(id).stores_statistics) l.batch = batch_statistics(id);
    if (is<ops::BatchNorm>(own)) {
      if (l.group != nullptr)
        l.group_gradients = {flat_view(group_gradients, 0, {channels(own)}),
                             flat_view(group_gradients, channels(own), {channels(own)})};
      l.batch = batch_statistics(own.inputs.front());
      const NodeTensors& t = tensors(id);
      for (std::size_t slot = 0; slot < t.statistics; ++slot) {
        const FlatTensor& tensor = layout.statistics[t.first_statistic + slot];
        l.reduced[slot] = flat_view(reduction, options.reduction_header + tensor.offset, tensor.shape);
      }
    }
    measurements.clear();
    for (const NodeId x : schedule().at(id).measures) measurements.push_back({value(x), batch_statistics(x)});
    l.measures = measurements;
  }
  l.mask = {.key = {.seed = options.seed,
                    .purpose = Purpose::dropout,
                    .stream = static_cast<std::uint32_t>(given(id)),
                    .position = static_cast<std::uint32_t>(step)},
            .first_sample = first_sample};
  return l;
}

// Gradients of tensors with several readers, after the backward pass of one.
void Executor::Impl::add_gradients(NodeId id) {
  if (schedule().taken_through(id) >= 0) return;  // added already
  const std::vector<InputGradient>& slots = blocks(id).input_gradients;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].add && slots[i].place)
      backend.update(ops::Blend{.keep = 1, .add = 1}, {.x = input_gradients[i], .y = gradient(node(id).inputs[i])});
}

void Executor::Impl::fold() {
  for (const Fold& fold : schedule().folds) {
    const NodeTensors& product = tensors(fold.product);
    const auto parameter = [&](std::size_t index) {
      return flat_view(weights, layout.parameters[index].offset, layout.parameters[index].shape);
    };
    const NodeTensors& norm = layout.nodes[index_of(graph, fold.norm)];
    const auto statistic = [&](std::size_t index) {
      return flat_view(statistics, layout.statistics[index].offset, layout.statistics[index].shape);
    };
    const std::array<TensorView, 2> target = parameters(fold.product);
    fold_weights(backend, {.kernel = parameter(product.first_parameter),
                           .bias = product.parameters > 1 ? parameter(product.first_parameter + 1) : TensorView{},
                           .gamma = fold.norm.scale ? parameter(norm.first_parameter) : TensorView{},
                           .beta = parameter(norm.first_parameter + (fold.norm.scale ? 1 : 0)),
                           .mean = statistic(norm.first_statistic),
                           .variance = statistic(norm.first_statistic + 1),
                           .epsilon = std::get<ops::BatchNorm>(fold.norm.operation).epsilon,
                           .folded_kernel = target[0],
                           .folded_bias = target[1]});
  }
}

void Executor::Impl::start(const Program& wanted, const MicroBatch& batch) {
  require<OptionError>(batch.n >= 1 && batch.n <= options.max_batch,
                       "a micro-batch of {} images does not fit ({} was planned for at most {})", batch.n, graph.name,
                       options.max_batch);
  program = &wanted;
  n = batch.n;
  first_sample = batch.first_sample;
  step = batch.step;
  // The folded weights lie in the arena: whatever training does, it spoils them.
  if (pass() == Pass::evaluation && !folded) {
    fold();
    for (ops::KeptWeights& kept : kept_weights) kept.clear();
  }
  folded = pass() == Pass::evaluation;
  upload(batch);
}

void Executor::Impl::upload(const MicroBatch& batch) {
  const TensorView images = plan().images ? arena_view(plan().images, value(0).shape) : value(0);
  const TensorView labels = arena_view(plan().labels, {n}, DType::i32);
  backend.upload(batch.images, images.data, images.bytes());
  backend.upload(batch.labels, labels.data, labels.bytes());
  if (plan().images) backend.update(ops::Blend{.keep = 0, .add = 1}, {.x = images, .y = value(0)});
  has_mixed = pass() == Pass::training && batch.mixed_labels != nullptr;
  if (!has_mixed) return;
  backend.upload(batch.mixed_labels, mixed_labels.data(), labels.bytes());
  backend.upload(batch.label_share, label_share.data(), labels.bytes());
}

ops::SoftmaxCrossEntropy::Mixed Executor::Impl::mixed() const {
  if (!has_mixed) return {};
  return {.labels = {mixed_labels.data(), {n}, DType::i32}, .share = {label_share.data(), {n}}};
}

void Executor::Impl::run_forward() {
  for (NodeId id = 1; id <= last_node(); ++id) network::forward(backend, node(id).operation, layer(id), pass());

  backend.forward(ops::SoftmaxCrossEntropy{.smoothing = pass() == Pass::training ? options.label_smoothing : 0},
                  {.logits = value(last_node()),
                   .labels = arena_view(plan().labels, {n}, DType::i32),
                   .loss = arena_view(plan().loss, {n}),
                   .label_rank = arena_view(plan().label_rank, {n}, DType::i32),
                   .probabilities = arena_view(plan().probabilities, {n, graph.classes()}),
                   .mixed = mixed()});
  state = pass() == Pass::training ? State::forward_done : State::evaluated;
}

void Executor::Impl::run_backward(NodeId id) {
  for (const NodeId value : blocks(id).recomputes)
    network::recompute(backend, node(value).operation, layer(value, true));
  if (schedule().at(id).centred)
    backend.centre({.x = value(id, true),
                    .mean = batch_statistics(id)[0],
                    .offset = rest(id)[0],
                    .slope = rest(id)[1],
                    .dx = gradient(id)});
  network::backward(backend, node(id).operation, layer(id, true));
  add_gradients(id);
}

void Executor::Impl::run_backward(float scale, const std::function<void(std::int64_t)>& gradient_ready) {
  if (blocks(last_node()).gradient)
    backend.backward(ops::SoftmaxCrossEntropy{.smoothing = options.label_smoothing},
                     {.logits = value(last_node()),
                      .labels = arena_view(plan().labels, {n}, DType::i32),
                      .scale = scale,
                      .dlogits = gradient(last_node()),
                      .mixed = mixed()});

  for (NodeId id = last_node(); id > 0; --id) {
    if (blocks(id).gradient) run_backward(id);
    const NodeTensors& own = tensors(id);
    if (own.parameters > 0 && own.first_parameter > 0 && gradient_ready)
      gradient_ready(gradients_offset() + layout.parameters[own.first_parameter].offset);
  }
  // With the first parameter the batch statistics, complete since forward, are final as well.
  if (gradient_ready) gradient_ready(options.reduction_header);
  state = State::backward_done;
}

Executor::Executor(const Graph& graph, ops::Backend& backend, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>(graph, backend, options)) {}
Executor::~Executor() = default;

const Graph& Executor::graph() const { return (impl_->training ? *impl_->training : impl_->evaluation).schedule.graph; }
const std::vector<FlatTensor>& Executor::parameters() const { return impl_->layout.parameters; }
const std::vector<FlatTensor>& Executor::statistics_layout() const { return impl_->layout.statistics; }
TensorView Executor::weights() {
  impl_->folded = false;
  return flat_view(impl_->weights, 0, {impl_->layout.parameter_count});
}
TensorView Executor::statistics() {
  impl_->folded = false;
  return flat_view(impl_->statistics, 0, {impl_->layout.statistics_count});
}
TensorView Executor::reduction() { return flat_view(impl_->reduction, 0, {impl_->reduction_size()}); }
std::int64_t Executor::gradients_offset() const { return impl_->gradients_offset(); }
std::int64_t Executor::arena_bytes() const { return impl_->arena_bytes(); }

void Executor::forward(const MicroBatch& batch) {
  require<OptionError>(impl_->training.has_value(), "{} was prepared for evaluation only", impl_->graph.name);
  impl_->start(*impl_->training, batch);
  impl_->run_forward();
}

void Executor::backward(float scale, const std::function<void(std::int64_t offset)>& gradient_ready) {
  EXPECT(impl_->state == Impl::State::forward_done);
  impl_->run_backward(scale, gradient_ready);
}

void Executor::evaluate(const MicroBatch& batch) {
  impl_->start(impl_->evaluation, batch);
  impl_->run_forward();
}

std::span<const float> Executor::loss() {
  const TensorView loss = impl_->arena_view(impl_->plan().loss, {impl_->n});
  impl_->backend.download(loss.data, impl_->host_loss.data(), loss.bytes());
  impl_->backend.synchronize();
  return {impl_->host_loss.data(), static_cast<std::size_t>(impl_->n)};
}

std::span<const std::int32_t> Executor::label_rank() {
  const TensorView rank = impl_->arena_view(impl_->plan().label_rank, {impl_->n}, DType::i32);
  impl_->backend.download(rank.data, impl_->host_label_rank.data(), rank.bytes());
  impl_->backend.synchronize();
  return {impl_->host_label_rank.data(), static_cast<std::size_t>(impl_->n)};
}

std::span<const float> Executor::probabilities() {
  if (impl_->state != Impl::State::evaluated) return {};
  const TensorView p = impl_->arena_view(impl_->plan().probabilities, {impl_->n, impl_->graph.classes()});
  impl_->backend.download(p.data, impl_->host_probabilities.data(), p.bytes());
  impl_->backend.synchronize();
  return {impl_->host_probabilities.data(), static_cast<std::size_t>(p.shape.size())};
}

std::int64_t planned_bytes(const Graph& graph, std::int64_t batch, bool training, const Passes& passes,
                           Precision precision) {
  const auto bytes = [&](bool of_training) {
    return plan_memory(make_schedule(graph, of_training, passes, precision), batch).bytes;
  };
  return training ? std::max(bytes(true), bytes(false)) : bytes(false);
}

}  // namespace brigade::network
