// A pass is a walk over the nodes: forward in order, backward in reverse; each node's views are cut from the arena
// and the flat arrays on the way (layers.cpp says what is done with them). Nothing is allocated after the constructor.
#include "brigade/network/executor.hpp"

#include <algorithm>
#include <utility>

#include "brigade/core/error.hpp"
#include "fuse_activation.hpp"
#include "layers.hpp"
#include "memory_plan.hpp"
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
    if (!node.scale) widest = std::max(widest, node.output.back());
  return widest;
}

std::size_t most_inputs(const Graph& graph) {
  return std::ranges::max(graph.nodes, {}, [](const Node& node) { return node.inputs.size(); }).inputs.size();
}

Buffer allocate_floats(ops::Backend& backend, std::int64_t floats) {
  return Buffer(backend.memory(), static_cast<std::size_t>(floats) * sizeof(float));
}

// By node of `fused`: the index its dropout had in the graph as given. It keys the mask, so that passes do not
// change a draw.
std::vector<std::uint32_t> original_indices(const Graph& given, const Graph& fused) {
  std::vector<std::uint32_t> indices;
  for (const Node& node : fused.nodes)
    indices.push_back(
        static_cast<std::uint32_t>(std::ranges::find(given.nodes, node.name, &Node::name) - given.nodes.begin()));
  return indices;
}

}  // namespace

struct Executor::Impl {
  Impl(const Graph& given, ops::Backend& target, const ExecutorOptions& wanted)
      : graph(fuse_activation(given)),
        streams(original_indices(given, graph)),
        layout(flat_layout(graph)),
        plan(plan_memory(graph, wanted.max_batch, wanted.training)),
        options(wanted),
        backend(target),
        arena(backend.memory(), static_cast<std::size_t>(plan.bytes)),
        weights(allocate_floats(backend, layout.parameter_count)),
        statistics(allocate_floats(backend, layout.statistics_count)),
        reduction(allocate_floats(backend, reduction_size())),
        unit_gamma(allocate_floats(backend, widest_unscaled(graph))),
        unused_gradient(allocate_floats(backend, widest_unscaled(graph))),
        mixed_labels(backend.memory(), wanted.training ? bytes_of_labels() : 0),
        label_share(backend.memory(), wanted.training ? bytes_of_labels() : 0),
        inputs(most_inputs(graph)),
        input_gradients(most_inputs(graph)),
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

  int node_count() const { return static_cast<int>(graph.nodes.size()); }
  NodeId last_node() const { return node_count() - 1; }
  const Node& node(NodeId id) const { return graph.nodes[static_cast<std::size_t>(id)]; }
  const NodeBlocks& blocks(NodeId id) const { return plan.nodes[static_cast<std::size_t>(id)]; }
  const NodeTensors& tensors(NodeId id) const { return layout.nodes[static_cast<std::size_t>(id)]; }

  std::int64_t gradients_offset() const { return options.reduction_header + layout.statistics_count; }
  std::int64_t reduction_size() const {
    return options.training ? gradients_offset() + layout.parameter_count : options.reduction_header;
  }

  std::size_t bytes_of_labels() const { return static_cast<std::size_t>(options.max_batch) * sizeof(std::int32_t); }

  TensorView arena_view(int block, const Shape& shape, DType type = DType::f32) const;
  TensorView value(NodeId id) const { return arena_view(blocks(id).value, node(id).output.with_batch(n)); }
  TensorView gradient(NodeId id) const { return arena_view(blocks(id).gradient, node(id).output.with_batch(n)); }
  Layer layer(NodeId id, Pass pass);
  void set_parameters(NodeId id, Layer& l) const;
  void add_gradients(NodeId id);

  void upload(const MicroBatch& batch);
  ops::SoftmaxCrossEntropy::Mixed mixed() const;
  void run_forward(const MicroBatch& batch, Pass pass);
  void run_backward(float scale, const std::function<void(std::int64_t)>& gradient_ready);

  const Graph graph;
  const std::vector<std::uint32_t> streams;
  const FlatLayout layout;
  const MemoryPlan plan;
  const ExecutorOptions options;
  ops::Backend& backend;
  Buffer arena, weights, statistics, reduction;
  const Buffer unit_gamma, unused_gradient;  // of batch norms that learn no gamma
  const Buffer mixed_labels, label_share;    // i32 and f32 [max_batch], in training
  std::vector<ConstTensorView> inputs;       // of the layer at work
  std::vector<TensorView> input_gradients;
  std::vector<float> host_loss;
  std::vector<std::int32_t> host_label_rank;
  std::vector<float> host_probabilities;

  // Of the last pass:
  std::int64_t n = 0, first_sample = 0, step = 0;
  bool has_mixed = false;  // its images have two labels
  enum class State { fresh, forward_done, backward_done, evaluated } state = State::fresh;
};

TensorView Executor::Impl::arena_view(int block, const Shape& shape, DType type) const {
  if (block < 0) return {};
  return {arena.as<std::byte>() + plan.blocks[static_cast<std::size_t>(block)].offset, shape, type};
}

// Kernel and bias, or gamma and beta; a gamma that is not learnt is 1, and its gradient goes nowhere.
void Executor::Impl::set_parameters(NodeId id, Layer& l) const {
  const NodeTensors& own = tensors(id);
  const std::size_t first = node(id).scale ? 0 : 1;
  if (first == 1) {
    l.weights[0] = flat_view(unit_gamma, 0, {node(id).output.back()});
    l.gradients[0] = flat_view(unused_gradient, 0, {node(id).output.back()});
  }
  for (std::size_t slot = 0; slot < own.parameters; ++slot) {
    const FlatTensor& tensor = layout.parameters[own.first_parameter + slot];
    l.weights[first + slot] = flat_view(weights, tensor.offset, tensor.shape);
    if (options.training)
      l.gradients[first + slot] = flat_view(reduction, gradients_offset() + tensor.offset, tensor.shape);
  }
}

Layer Executor::Impl::layer(NodeId id, Pass pass) {
  const std::size_t count = node(id).inputs.size();
  for (std::size_t i = 0; i < count; ++i) {
    const NodeId input = node(id).inputs[i];
    inputs[i] = value(input);
    input_gradients[i] = {};
    if (i < blocks(id).input_gradients.size())
      input_gradients[i] = arena_view(blocks(id).input_gradients[i].block, inputs[i].shape);
    input_gradients[i].shape = inputs[i].shape;
  }
  Layer l{.inputs = {inputs.data(), count},
          .input_gradients = {input_gradients.data(), count},
          .x = inputs.front(),
          .y = value(id),
          .dy = gradient(id),
          .dx = input_gradients.front()};
  set_parameters(id, l);
  const NodeTensors& own = tensors(id);
  for (std::size_t slot = 0; slot < own.statistics; ++slot) {
    const FlatTensor& tensor = layout.statistics[own.first_statistic + slot];
    l.running[slot] = flat_view(statistics, tensor.offset, tensor.shape);
    if (pass == Pass::training) {
      const TensorView both = arena_view(blocks(id).statistics, {2, tensor.size()});
      l.batch[slot] = {both.f32() + static_cast<std::int64_t>(slot) * tensor.size(), tensor.shape};
      l.reduced[slot] = flat_view(reduction, options.reduction_header + tensor.offset, tensor.shape);
    }
  }
  if (pass == Pass::training) l.winners = arena_view(blocks(id).winners, node(id).output.with_batch(n), DType::u8);
  l.mask = {.key = {.seed = options.seed,
                    .purpose = Purpose::dropout,
                    .stream = streams[static_cast<std::size_t>(id)],
                    .position = static_cast<std::uint32_t>(step)},
            .first_sample = first_sample};
  return l;
}

// Gradients of tensors with several readers, after the backward pass of one.
void Executor::Impl::add_gradients(NodeId id) {
  const std::vector<InputGradient>& slots = blocks(id).input_gradients;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].add && slots[i].block >= 0)
      backend.update(ops::Blend{.keep = 1, .add = 1}, {.x = input_gradients[i], .y = gradient(node(id).inputs[i])});
}

void Executor::Impl::upload(const MicroBatch& batch) {
  const TensorView images = value(0);
  const TensorView labels = arena_view(plan.labels, {n}, DType::i32);
  backend.upload(batch.images, images.data, images.bytes());
  backend.upload(batch.labels, labels.data, labels.bytes());
  if (!has_mixed) return;
  backend.upload(batch.mixed_labels, mixed_labels.data(), labels.bytes());
  backend.upload(batch.label_share, label_share.data(), labels.bytes());
}

ops::SoftmaxCrossEntropy::Mixed Executor::Impl::mixed() const {
  if (!has_mixed) return {};
  return {.labels = {mixed_labels.data(), {n}, DType::i32}, .share = {label_share.data(), {n}}};
}

void Executor::Impl::run_forward(const MicroBatch& batch, Pass pass) {
  require<OptionError>(batch.n >= 1 && batch.n <= options.max_batch,
                       "a micro-batch of {} images does not fit ({} was planned for at most {})", batch.n, graph.name,
                       options.max_batch);
  n = batch.n;
  first_sample = batch.first_sample;
  step = batch.step;
  has_mixed = pass == Pass::training && batch.mixed_labels != nullptr;
  upload(batch);

  for (NodeId id = 1; id < node_count(); ++id) network::forward(backend, node(id).operation, layer(id, pass), pass);

  const bool wants_probabilities = pass == Pass::evaluation;
  backend.forward(ops::SoftmaxCrossEntropy{.smoothing = pass == Pass::training ? options.label_smoothing : 0},
                  {.logits = value(last_node()),
                   .labels = arena_view(plan.labels, {n}, DType::i32),
                   .loss = arena_view(plan.loss, {n}),
                   .label_rank = arena_view(plan.label_rank, {n}, DType::i32),
                   .probabilities = arena_view(wants_probabilities ? plan.probabilities : -1, {n, graph.classes()}),
                   .mixed = mixed()});
  state = pass == Pass::training ? State::forward_done : State::evaluated;
}

void Executor::Impl::run_backward(float scale, const std::function<void(std::int64_t)>& gradient_ready) {
  if (blocks(last_node()).gradient >= 0)
    backend.backward(ops::SoftmaxCrossEntropy{.smoothing = options.label_smoothing},
                     {.logits = value(last_node()),
                      .labels = arena_view(plan.labels, {n}, DType::i32),
                      .scale = scale,
                      .dlogits = gradient(last_node()),
                      .mixed = mixed()});

  for (NodeId id = last_node(); id > 0; --id) {
    if (blocks(id).gradient < 0) continue;
    network::backward(backend, node(id).operation, layer(id, Pass::training));
    add_gradients(id);
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

const Graph& Executor::graph() const { return impl_->graph; }
const std::vector<FlatTensor>& Executor::parameters() const { return impl_->layout.parameters; }
const std::vector<FlatTensor>& Executor::statistics_layout() const { return impl_->layout.statistics; }
TensorView Executor::weights() { return flat_view(impl_->weights, 0, {impl_->layout.parameter_count}); }
TensorView Executor::statistics() { return flat_view(impl_->statistics, 0, {impl_->layout.statistics_count}); }
TensorView Executor::reduction() { return flat_view(impl_->reduction, 0, {impl_->reduction_size()}); }
std::int64_t Executor::gradients_offset() const { return impl_->gradients_offset(); }
std::int64_t Executor::arena_bytes() const { return impl_->plan.bytes; }

void Executor::forward(const MicroBatch& batch) {
  require<OptionError>(impl_->options.training, "{} was prepared for evaluation only", impl_->graph.name);
  impl_->run_forward(batch, Pass::training);
}

void Executor::backward(float scale, const std::function<void(std::int64_t offset)>& gradient_ready) {
  EXPECT(impl_->state == Impl::State::forward_done);
  impl_->run_backward(scale, gradient_ready);
}

void Executor::evaluate(const MicroBatch& batch) { impl_->run_forward(batch, Pass::evaluation); }

std::span<const float> Executor::loss() {
  const TensorView loss = impl_->arena_view(impl_->plan.loss, {impl_->n});
  impl_->backend.download(loss.data, impl_->host_loss.data(), loss.bytes());
  impl_->backend.synchronize();
  return {impl_->host_loss.data(), static_cast<std::size_t>(impl_->n)};
}

std::span<const std::int32_t> Executor::label_rank() {
  const TensorView rank = impl_->arena_view(impl_->plan.label_rank, {impl_->n}, DType::i32);
  impl_->backend.download(rank.data, impl_->host_label_rank.data(), rank.bytes());
  impl_->backend.synchronize();
  return {impl_->host_label_rank.data(), static_cast<std::size_t>(impl_->n)};
}

std::span<const float> Executor::probabilities() {
  if (impl_->state != Impl::State::evaluated) return {};
  const TensorView p = impl_->arena_view(impl_->plan.probabilities, {impl_->n, impl_->graph.classes()});
  impl_->backend.download(p.data, impl_->host_probabilities.data(), p.bytes());
  impl_->backend.synchronize();
  return {impl_->host_probabilities.data(), static_cast<std::size_t>(p.shape.size())};
}

}  // namespace brigade::network
