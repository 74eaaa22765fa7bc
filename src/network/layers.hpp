// What each kind of node asks of the backend, forward and backward.
#pragma once

#include <array>
#include <span>

#include "brigade/network/graph.hpp"

namespace brigade::network {

// A node's tensors during a pass of n images. Views a node does not have, or nobody needs, are empty.
struct Layer {
  std::span<const ConstTensorView> inputs{};      // [n, ...] each
  std::span<const TensorView> input_gradients{};  // shaped as the inputs, even where they have no data
  ConstTensorView x{};                            // the first input
  TensorView y{};                                 // [n, ...] output
  TensorView dy{}, dx{};                          // gradients of y and x
  TensorView winners{};                           // max pool in training: u8, shaped as y

  std::array<TensorView, 2> weights{};    // kernel and bias, or gamma and beta
  std::array<TensorView, 2> gradients{};  // of the weights

  // Batch norm only, each [C], first mean, then variance:
  std::array<TensorView, 2> running{};  // for evaluation
  std::array<TensorView, 2> batch{};    // of the micro-batch as backward needs it (variance over the count)
  std::array<TensorView, 2> reduced{};  // of the micro-batch as running averages want it (over the count - 1)

  ops::Dropout::Mask mask{};  // dropout only
};

enum class Pass { training, evaluation };

void forward(ops::Backend& backend, const Operation& operation, const Layer& layer, Pass pass);
void backward(ops::Backend& backend, const Operation& operation, const Layer& layer);

}  // namespace brigade::network
