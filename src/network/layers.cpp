// One pair of functions for each operation, so that forward and backward are read side by side.
#include "layers.hpp"

#include <algorithm>

namespace brigade::network {
namespace {

using ops::Backend;

void forward(Backend&, const Input&, const Layer&, Pass) {}  // uploaded by the executor
void backward(Backend&, const Input&, const Layer&) {}

void forward(Backend&, const Flatten&, const Layer&, Pass) {}  // the same bytes under another shape
void backward(Backend&, const Flatten&, const Layer&) {}

// Convolutions and dense layers have the same tensors.
template <class Product>
requires std::same_as<Product, ops::Conv2d> || std::same_as<Product, ops::DepthwiseConv2d> ||
    std::same_as<Product, ops::Dense>
void forward(Backend& backend, const Product& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.x, .w = l.weights[0], .bias = l.weights[1], .y = l.y});
}
template <class Product>
requires std::same_as<Product, ops::Conv2d> || std::same_as<Product, ops::DepthwiseConv2d> ||
    std::same_as<Product, ops::Dense>
void backward(Backend& backend, const Product& op, const Layer& l) {
  backend.backward(
      op,
      {.x = l.x, .w = l.weights[0], .y = l.y, .dy = l.dy, .dx = l.dx, .dw = l.gradients[0], .dbias = l.gradients[1]});
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
  backend.forward(op, {.a = l.inputs[0], .b = l.inputs[1], .y = l.y});
}
void backward(Backend& backend, const ops::Add& op, const Layer& l) {
  backend.backward(op, {.y = l.y, .dy = l.dy, .da = l.input_gradients[0], .db = l.input_gradients[1]});
}

void forward(Backend& backend, const ops::Concat& op, const Layer& l, Pass) {
  backend.forward(op, {.x = l.inputs, .y = l.y});
}
void backward(Backend& backend, const ops::Concat& op, const Layer& l) {
  backend.backward(op, {.dy = l.dy, .dx = l.input_gradients});
}

void forward(Backend& backend, const ops::BatchNorm& op, const Layer& l, Pass pass) {
  if (pass == Pass::evaluation) {
    backend.infer(op, {.x = l.x,
                       .gamma = l.weights[0],
                       .beta = l.weights[1],
                       .mean = l.running[0],
                       .variance = l.running[1],
                       .y = l.y});
    return;
  }
  backend.forward(
      op,
      {.x = l.x, .gamma = l.weights[0], .beta = l.weights[1], .y = l.y, .mean = l.batch[0], .variance = l.batch[1]});
  const std::int64_t values = l.x.shape.size() / op.channels;
  const auto count = static_cast<float>(values);
  const float unbiased = count / std::max(count - 1, 1.0F);
  backend.update(ops::Blend{.keep = 0, .add = 1}, {.x = l.batch[0], .y = l.reduced[0]});
  backend.update(ops::Blend{.keep = 0, .add = unbiased}, {.x = l.batch[1], .y = l.reduced[1]});
}
void backward(Backend& backend, const ops::BatchNorm& op, const Layer& l) {
  backend.backward(op, {.x = l.x,
                        .gamma = l.weights[0],
                        .beta = l.weights[1],
                        .mean = l.batch[0],
                        .variance = l.batch[1],
                        .dy = l.dy,
                        .dx = l.dx,
                        .dgamma = l.gradients[0],
                        .dbeta = l.gradients[1]});
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

void backward(Backend& backend, const Operation& operation, const Layer& layer) {
  std::visit([&](const auto& op) { backward(backend, op, layer); }, operation);
}

}  // namespace brigade::network
