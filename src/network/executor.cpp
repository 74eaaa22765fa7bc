// A pass is a walk over the nodes: forward in order, backward in reverse (layers.cpp says what is done with the tensors
// of each, workspace.cpp where they are).
#include "brigade/network/executor.hpp"

#include <algorithm>
#include <utility>

#include "brigade/core/error.hpp"
#include "folded_weights.hpp"
#include "nodes.hpp"
#include "workspace.hpp"

namespace brigade::network {

struct Executor::Impl {
  Impl(const Graph& graph, ops::Backend& target, const ExecutorOptions& options)
      : backend(target),
        memory(graph, options, target),
        mixed_labels(target.memory(), bytes_of_mixed_labels()),
        label_share(target.memory(), bytes_of_mixed_labels()),
        host_loss(static_cast<std::size_t>(options.max_batch)),
        host_label_rank(static_cast<std::size_t>(options.max_batch)),
        host_probabilities(static_cast<std::size_t>(options.max_batch * graph.classes())) {}

  std::size_t bytes_of_mixed_labels() const {
    return memory.training() ? static_cast<std::size_t>(memory.options().max_batch) * sizeof(std::int32_t) : 0;
  }
  // Of the pass at work:
  TensorView labels() const { return memory.at(memory.plan().labels, {memory.images()}, DType::i32); }
  TensorView loss() const { return memory.at(memory.plan().loss, {memory.images()}); }
  TensorView label_rank() const { return memory.at(memory.plan().label_rank, {memory.images()}, DType::i32); }
  TensorView probabilities() const {
    return memory.at(memory.plan().probabilities, {memory.images(), memory.graph().classes()});
  }
  ops::SoftmaxCrossEntropy::Mixed mixed() const;

  void start(const Program& program, const MicroBatch& batch);
  void fold();
  void upload(const MicroBatch& batch);
  void run_forward();
  void run_backward(NodeId id);
  void run_backward(float scale, const std::function<void(std::int64_t)>& gradient_ready);
  void add_gradients(NodeId id, const Layer& layer);
  template <class T>
  std::span<const T> download(const TensorView& from, std::vector<T>& to);

  ops::Backend& backend;
  Workspace memory;
  const Buffer mixed_labels, label_share;  // i32 and f32 [max_batch], in training
  std::vector<float> host_loss;
  std::vector<std::int32_t> host_label_rank;
  std::vector<float> host_probabilities;

  // Of the last pass:
  bool has_mixed = false;  // its images have two labels
  enum class State { fresh, forward_done, backward_done, evaluated } state = State::fresh;
  bool folded = false;  // the folded weights, and those kept, are those of now
};

ops::SoftmaxCrossEntropy::Mixed Executor::Impl::mixed() const {
  if (!has_mixed) return {};
  return {.labels = {mixed_labels.data(), {memory.images()}, DType::i32},
          .share = {label_share.data(), {memory.images()}}};
}

void Executor::Impl::start(const Program& program, const MicroBatch& batch) {
  const std::int64_t most = memory.options().max_batch;
  require<OptionError>(batch.n >= 1 && batch.n <= most,
                       "a micro-batch of {} images does not fit ({} was planned for at most {})", batch.n,
                       memory.graph().name, most);
  memory.begin(program, batch);
  // The folded weights lie in the arena: whatever training does, it spoils them.
  const bool evaluates = memory.pass() == Pass::evaluation;
  if (evaluates && !folded) {
    fold();
    memory.forget_kept_weights();
  }
  folded = evaluates;
  upload(batch);
}

void Executor::Impl::fold() {
  for (const Fold& fold : memory.schedule().folds) {
    const NodeTensors& product = memory.tensors(fold.product);
    const NodeTensors& norm = memory.layout().nodes[index_of(memory.graph(), fold.norm)];
    const std::array<TensorView, 2> target = memory.parameters(fold.product);
    fold_weights(backend,
                 {.kernel = memory.parameter(product.first_parameter),
                  .bias = product.parameters > 1 ? memory.parameter(product.first_parameter + 1) : TensorView{},
                  .gamma = fold.norm.scale ? memory.parameter(norm.first_parameter) : TensorView{},
                  .beta = memory.parameter(norm.first_parameter + (fold.norm.scale ? 1 : 0)),
                  .mean = memory.statistic(norm.first_statistic),
                  .variance = memory.statistic(norm.first_statistic + 1),
                  .epsilon = std::get<ops::BatchNorm>(fold.norm.operation).epsilon,
                  .folded_kernel = target[0],
                  .folded_bias = target[1]});
  }
}

void Executor::Impl::upload(const MicroBatch& batch) {
  const MemoryPlan& plan = memory.plan();
  const TensorView value = memory.value(0), images = memory.at(plan.images, value.shape);
  if (images.data != batch.images) backend.upload(batch.images, images.data, images.bytes());
  if (plan.images != memory.blocks(0).value) backend.update(ops::Blend{.keep = 0, .add = 1}, {.x = images, .y = value});
  backend.upload(batch.labels, labels().data, labels().bytes());
  has_mixed = memory.pass() == Pass::training && batch.mixed_labels != nullptr;
  if (!has_mixed) return;
  backend.upload(batch.mixed_labels, mixed_labels.data(), labels().bytes());
  backend.upload(batch.label_share, label_share.data(), labels().bytes());
}

void Executor::Impl::run_forward() {
  const NodeId last = memory.last_node();
  for (NodeId id = 1; id <= last; ++id)
    if (memory.schedule().at(id).made_by < 0)
      network::forward(backend, memory.node(id).operation, memory.layer(id), memory.pass());

  const bool training = memory.pass() == Pass::training;
  backend.forward(ops::SoftmaxCrossEntropy{.smoothing = training ? memory.options().label_smoothing : 0},
                  {.logits = memory.value(last),
                   .labels = labels(),
                   .loss = loss(),
                   .label_rank = label_rank(),
                   .probabilities = probabilities(),
                   .mixed = mixed()});
  state = training ? State::forward_done : State::evaluated;
}

void Executor::Impl::run_backward(NodeId id) {
  for (const NodeId value : memory.blocks(id).recomputes)
    network::recompute(backend, memory.node(value).operation, memory.layer(value, true));
  if (memory.schedule().at(id).centred)
    backend.centre({.x = memory.value(id, true),
                    .mean = memory.batch_statistics(id)[0],
                    .offset = memory.rest(id)[0],
                    .slope = memory.rest(id)[1],
                    .dx = memory.gradient(id)});
  if (memory.schedule().at(id).gradient_made) return;
  const Layer layer = memory.layer(id, true);
  network::backward(backend, memory.node(id).operation, layer);
  add_gradients(id, layer);
}

// Gradients of tensors with several readers, after the backward pass of one.
void Executor::Impl::add_gradients(NodeId id, const Layer& layer) {
  if (memory.schedule().taken_through(id) >= 0 || memory.schedule().finished(id) >= 0) return;  // added already
  const std::vector<InputGradient>& slots = memory.blocks(id).input_gradients;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].add && slots[i].place)
      backend.update(ops::Blend{.keep = 1, .add = 1},
                     {.x = layer.input_gradients[i], .y = memory.gradient(memory.node(id).inputs[i])});
}

void Executor::Impl::run_backward(float scale, const std::function<void(std::int64_t)>& gradient_ready) {
  const NodeId last = memory.last_node();
  if (memory.blocks(last).gradient)
    backend.backward(ops::SoftmaxCrossEntropy{.smoothing = memory.options().label_smoothing},
                     {.logits = memory.value(last),
                      .labels = labels(),
                      .scale = scale,
                      .dlogits = memory.gradient(last),
                      .mixed = mixed()});

  for (NodeId id = last; id > 0; --id) {
    if (memory.blocks(id).gradient) run_backward(id);
    const NodeTensors& own = memory.tensors(id);
    if (memory.schedule().at(id).gradient_made) continue;  // the convolution still reads its sums
    if (own.parameters > 0 && own.first_parameter > 0 && gradient_ready)
      gradient_ready(memory.gradients_offset() + memory.layout().parameters[own.first_parameter].offset);
  }
  // With the first parameter the batch statistics, complete since forward, are final as well.
  if (gradient_ready) gradient_ready(memory.options().reduction_header);
  state = State::backward_done;
}

template <class T>
std::span<const T> Executor::Impl::download(const TensorView& from, std::vector<T>& to) {
  backend.download(from.data, to.data(), from.bytes());
  backend.synchronize();
  return {to.data(), static_cast<std::size_t>(from.shape.size())};
}

Executor::Executor(const Graph& graph, ops::Backend& backend, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>(graph, backend, options)) {}
Executor::~Executor() = default;

const Graph& Executor::graph() const {
  const Workspace& memory = impl_->memory;
  return (memory.training() ? *memory.training() : memory.evaluation()).schedule.graph;
}
const std::vector<FlatTensor>& Executor::parameters() const { return impl_->memory.layout().parameters; }
const std::vector<FlatTensor>& Executor::statistics_layout() const { return impl_->memory.layout().statistics; }
TensorView Executor::weights() {
  impl_->folded = false;
  return impl_->memory.weights();
}
TensorView Executor::statistics() {
  impl_->folded = false;
  return impl_->memory.statistics();
}
TensorView Executor::reduction() { return impl_->memory.reduction(); }
std::int64_t Executor::gradients_offset() const { return impl_->memory.gradients_offset(); }
std::int64_t Executor::arena_bytes() const { return impl_->memory.arena_bytes(); }

void Executor::forward(const MicroBatch& batch) {
  const std::optional<Program>& training = impl_->memory.training();
  require<OptionError>(training.has_value(), "{} was prepared for evaluation only", impl_->memory.graph().name);
  impl_->start(*training, batch);
  impl_->run_forward();
}

void Executor::backward(float scale, const std::function<void(std::int64_t offset)>& gradient_ready) {
  EXPECT(impl_->state == Impl::State::forward_done);
  impl_->run_backward(scale, gradient_ready);
}

void Executor::evaluate(const MicroBatch& batch) {
  impl_->start(impl_->memory.evaluation(), batch);
  impl_->run_forward();
}

std::span<const float> Executor::loss() { return impl_->download(impl_->loss(), impl_->host_loss); }
std::span<const std::int32_t> Executor::label_rank() {
  return impl_->download(impl_->label_rank(), impl_->host_label_rank);
}
std::span<const float> Executor::probabilities() {
  if (impl_->state != Impl::State::evaluated) return {};
  return impl_->download(impl_->probabilities(), impl_->host_probabilities);
}

std::int64_t planned_bytes(const Graph& graph, std::int64_t batch, bool training, const Passes& passes,
                           Precision precision) {
  const auto bytes = [&](bool of_training) {
    return plan_memory(make_schedule(graph, of_training, passes, precision), batch).bytes;
  };
  return training ? std::max(bytes(true), bytes(false)) : bytes(false);
}

}  // namespace brigade::network
