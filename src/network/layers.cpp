// One pair of functions for each operation, so that forward and backward are read side by side.
#include "layers.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace brigade::network {
namespace {

using ops::Backend;

void forward(Backend&, const Input&, const Layer&, Pass) {}  // uploaded by the executor
void backward(Backend&, const Input&, const Layer&) {}

void forward(Backend&, const Flatten&, const Layer&, Pass) {}  // the same bytes under another shape
void backward(Backend&, const Flatten&, const Layer&) {}

// The gradient of a bias as its product shall write it; none where it is zero anyway.
TensorView bias_gradient(Backend& backend, const Layer& l) {
  if (!l.bias_cancels) return l.gradients[1];
  backend.update(ops::Blend{.keep = 0, .add = 0}, {.x = l.weights[1], .y = l.gradients[1]});
  return {};
}

void forward(Backend& backend, const ops::Dense& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.x, .w = l.weights[0], .bias = l.weights[1], .y = l.y, .kept = l.kept});
}
void backward(Backend& backend, const ops::Dense& op, const Layer& l) {
  backend.backward(op, {.x = l.x,
                        .w = l.weights[0],
                        .y = l.y,
                        .dy = l.dy,
                        .dx = l.dx,
                        .dw = l.gradients[0],
                        .dbias = bias_gradient(backend, l)});
}

using Moments = std::array<TensorView, 2>;

// Replaces two arrays of a value a channel by what the group makes of them.
template <class Merge>
void exchange(Backend& backend, const Moments& from, const Moments& to, const Merge& merge) {
  std::array<std::vector<float>, 2> host;
  for (std::size_t i = 0; i < 2; ++i) {
    host[i].resize(static_cast<std::size_t>(from[i].shape.size()));
    backend.download(from[i].data, host[i].data(), from[i].bytes());
  }
  backend.synchronize();
  merge(std::span(host[0]), std::span(host[1]));
  for (std::size_t i = 0; i < 2; ++i) backend.upload(host[i].data(), to[i].data, to[i].bytes());
  backend.synchronize();  // host ends here
}

void share(Backend& backend, const Layer& l, const Moments& measured) {
  if (l.group == nullptr || !measured[0]) return;
  exchange(backend, measured, measured, [&](auto mean, auto variance) { l.group->merge_moments(mean, variance); });
}

// Both convolutions have the same tensors.
template <class Op>
concept Convolution = std::same_as<Op, ops::Conv2d> || std::same_as<Op, ops::DepthwiseConv2d>;

template <Convolution Op>
void forward(Backend& backend, const Op& op, const Layer& l, Pass) {
  typename Op::Forward tensors{.x = l.x,
                               .w = l.weights[0],
                               .bias = l.weights[1],
                               .y = l.y,
                               .of_x = l.of_inputs[0],
                               .mean = l.batch[0],
                               .variance = l.batch[1]};
  if constexpr (requires { tensors.kept; }) tensors.kept = l.kept;
  if constexpr (requires { tensors.made_x; }) tensors.made_x = l.made_x;
  backend.forward(op, tensors);
  share(backend, l, l.batch);
}
template <Convolution Op>
void backward(Backend& backend, const Op& op, const Layer& l) {
  typename Op::Backward tensors{.x = l.x,
                                .w = l.weights[0],
                                .y = l.y,
                                .dy = l.dy,
                                .dx = l.dx,
                                .dw = l.gradients[0],
                                .dbias = bias_gradient(backend, l),
                                .of_x = l.of_inputs[0]};
  if constexpr (requires { tensors.through; }) tensors.through = l.through;
  if constexpr (requires { tensors.shared; }) tensors.shared = l.shared;
  if constexpr (requires { tensors.made_dy; }) tensors.made_dy = l.made_dy;
  backend.backward(op, tensors);
}

void forward(Backend& backend, const ops::Relu& op, const Layer& l, Pass) { backend.forward(op, {.x = l.x, .y = l.y}); }
void backward(Backend& backend, const ops::Relu& op, const Layer& l) {
  if (l.dx) backend.backward(op, {.y = l.y, .dy = l.dy, .dx = l.dx});
}

void forward(Backend& backend, const ops::MaxPool& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.x, .y = l.y, .winner = l.winners});
}
void backward(Backend& backend, const ops::MaxPool& op, const Layer& l) {
  if (l.dx) backend.backward(op, {.winner = l.winners, .dy = l.dy, .dx = l.dx});
}

void forward(Backend& backend, const ops::AveragePool& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.x, .y = l.y});
}
void backward(Backend& backend, const ops::AveragePool& op, const Layer& l) {
  if (l.dx) backend.backward(op, {.dy = l.dy, .dx = l.dx});
}

void forward(Backend& backend, const ops::GlobalAveragePool& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.x, .y = l.y});
}
void backward(Backend& backend, const ops::GlobalAveragePool& op, const Layer& l) {
  if (l.dx) backend.backward(op, {.dy = l.dy, .dx = l.dx});
}

void forward(Backend& backend, const ops::Add& op, const Layer& l, Pass) {
  backend.forward(op, {.a = l.inputs[0], .b = l.inputs[1], .y = l.y, .of_a = l.of_inputs[0], .of_b = l.of_inputs[1]});
}
void recompute(Backend& backend, const ops::Add& op, const Layer& l) { forward(backend, op, l, Pass::training); }
void backward(Backend& backend, const ops::Add& op, const Layer& l) {
  const ops::Add left{.scale = op.scale, .activation = l.finished ? ops::Activation::none : op.activation};
  backend.backward(left, {.y = l.y, .dy = l.dy, .da = l.input_gradients[0], .db = l.input_gradients[1]});
}

void forward(Backend& backend, const ops::Concat& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.inputs, .y = l.y});
}
void backward(Backend& backend, const ops::Concat& op, const Layer& l) {
  backend.backward(op, {.dy = l.dy, .dx = l.input_gradients});
}

void normalise(Backend& backend, const ops::BatchNorm& op, const Layer& l, const Moments& by) {
  backend.infer(op,
                {.x = l.x, .gamma = l.weights[0], .beta = l.weights[1], .mean = by[0], .variance = by[1], .y = l.y});
}
void recompute(Backend& backend, const ops::BatchNorm& op, const Layer& l) { normalise(backend, op, l, l.batch); }

// What is still to be measured, and the output if anybody wants it stored: in one call if that is all.
void measure_and_normalise(Backend& backend, const ops::BatchNorm& op, const Layer& l) {
  const bool only_x = l.measures.size() == 1 && l.measures[0].x.shape == l.x.shape;
  if (only_x && l.y && l.group == nullptr)
    return backend.forward(
        op,
        {.x = l.x, .gamma = l.weights[0], .beta = l.weights[1], .y = l.y, .mean = l.batch[0], .variance = l.batch[1]});
  for (const Measurement& m : l.measures) {
    backend.forward(ops::BatchNorm{.channels = m.x.shape.back()},
                    {.x = m.x, .gamma = {}, .beta = {}, .y = {}, .mean = m.statistics[0], .variance = m.statistics[1]});
    share(backend, l, m.statistics);
  }
  if (l.y) normalise(backend, op, l, l.batch);
}

void forward(Backend& backend, const ops::BatchNorm& op, const Layer& l, Pass pass) {
  if (pass == Pass::evaluation) {
    if (l.y) normalise(backend, op, l, l.running);
    return;
  }
  measure_and_normalise(backend, op, l);
  const std::int64_t members = l.group == nullptr ? 1 : l.group->members();
  const std::int64_t values = members * l.x.shape.size() / op.channels;
  const auto count = static_cast<float>(values);
  const float unbiased = count / std::max(count - 1, 1.0F);
  backend.update(ops::Blend{.keep = 0, .add = 1}, {.x = l.batch[0], .y = l.reduced[0]});
  backend.update(ops::Blend{.keep = 0, .add = unbiased}, {.x = l.batch[1], .y = l.reduced[1]});
}
// In a group, dx follows from the sums over all members; those over this member's values stay its share of the weights'
// gradients, which are added up with everybody's. The operation divides sums by the count of its own values, and so
// wants the mean of the members' sums.
void backward(Backend& backend, const ops::BatchNorm& op, const Layer& l) {
  ops::BatchNorm::Backward t{.x = l.x,
                             .gamma = l.weights[0],
                             .beta = l.weights[1],
                             .mean = l.batch[0],
                             .variance = l.batch[1],
                             .dy = l.dy,
                             .dx = l.dx,
                             .dgamma = l.gradients[0],
                             .dbeta = l.gradients[1],
                             .sums = l.finished ? ops::BatchNorm::Sums::given : ops::BatchNorm::Sums::computed};
  if (l.group == nullptr) return backend.backward(op, t);
  t.dx = {};
  backend.backward(op, t);
  if (!l.dx) return;
  exchange(backend, l.gradients, l.group_gradients,
           [&](auto dgamma, auto dbeta) { l.group->average_gradients(dgamma, dbeta); });
  t.dx = l.dx;
  t.dgamma = l.group_gradients[0];
  t.dbeta = l.group_gradients[1];
  t.sums = ops::BatchNorm::Sums::given;
  backend.backward(op, t);
}

void forward(Backend& backend, const ops::LocalResponseNorm& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.x, .y = l.y});
}
void backward(Backend& backend, const ops::LocalResponseNorm& op, const Layer& l) {
  if (l.dx) backend.backward(op, {.x = l.x, .dy = l.dy, .dx = l.dx});
}

void forward(Backend& backend, const Scale& op, const Layer& l, Pass) {
  backend.update(ops::Blend{.keep = 0, .add = op.factor}, {.x = l.x, .y = l.y});
}
void backward(Backend& backend, const Scale& op, const Layer& l) {
  if (l.dx) backend.update(ops::Blend{.keep = 0, .add = op.factor}, {.x = l.dy, .y = l.dx});
}

// In evaluation, and at rate 0, the output is the input: mostly in place, and then there is nothing to do.
void copy(Backend& backend, const ConstTensorView& from, const TensorView& to) {
  if (from.data != to.data) backend.forward(ops::Concat{}, {.x = {&from, 1}, .y = to});
}
void forward(Backend& backend, const ops::Dropout& op, const Layer& l, Pass pass) {
  if (pass == Pass::training && op.rate > 0)
    backend.apply(op, {.x = l.x, .y = l.y, .mask = l.mask});
  else
    copy(backend, l.x, l.y);
}
void backward(Backend& backend, const ops::Dropout& op, const Layer& l) {
  if (!l.dx) return;
  if (op.rate > 0)
    backend.apply(op, {.x = l.dy, .y = l.dx, .mask = l.mask});
  else
    copy(backend, l.dy, l.dx);
}

}  // namespace

void forward(Backend& backend, const Operation& operation, const Layer& layer, Pass pass) {
  std::visit([&](const auto& op) { forward(backend, op, layer, pass); }, operation);
}

void recompute(Backend& backend, const Operation& operation, const Layer& layer) {
  std::visit(
      [&](const auto& op) {
        if constexpr (requires { recompute(backend, op, layer); }) recompute(backend, op, layer);
      },
      operation);
}

void backward(Backend& backend, const Operation& operation, const Layer& layer) {
  std::visit([&](const auto& op) { backward(backend, op, layer); }, operation);
}

}  // namespace brigade::network
