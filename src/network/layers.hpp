// What each kind of node asks of the backend, forward and backward.
#pragma once

#include <array>
#include <span>

#include "brigade/network/batch_norm_group.hpp"
#include "brigade/network/graph.hpp"

namespace brigade::network {

// Whose mean and variance a batch norm takes, and where they go.
struct Measurement {
  ConstTensorView x;                     // [n, ..., C]
  std::array<TensorView, 2> statistics;  // [C]
};

// A node's tensors during a pass of n images. Views a node does not have, or nobody needs, are empty.
struct Layer {
  std::span<const ConstTensorView> inputs{};      // [n, ...] each
  std::span<const TensorView> input_gradients{};  // shaped as the inputs, even where they have no data
  ConstTensorView x{};                            // the first input
  std::array<ops::Normalisation, 2> of_inputs{};  // batch norms to be applied to the first two inputs on reading
  TensorView y{};                                 // [n, ...] output; empty: normalised by its readers
  TensorView dy{}, dx{};                          // gradients of y and x
  TensorView winners{};                           // max pool in training: u8, shaped as y

  std::array<TensorView, 2> weights{};    // kernel and bias, or gamma and beta
  std::array<TensorView, 2> gradients{};  // of the weights
  bool bias_cancels = false;              // products: the second is zero
  ops::KeptWeights* kept = nullptr;       // products in evaluation: of the kernel

  // Convolution only: the batch norm that dx is taken through
  ops::GradientThrough through{};
  ops::SharedGradient shared{};   // ... or the gradient that it finishes
  ops::Conv2d::MadeSum made_x{};  // and what it makes of its x and dy
  ops::Conv2d::MadeGradient made_dy{};
  bool finished = false;  // sum: dy is masked already; batch norm: the sums over dy are there

  // Batch norm only, each [C], first mean, then variance:
  std::array<TensorView, 2> running{};  // for evaluation
  // ... of the micro-batch as backward needs it (variance over the count): of the input of a batch norm, and of the
  // output of a convolution that is to measure it
  std::array<TensorView, 2> batch{};
  std::array<TensorView, 2> reduced{};      // of the micro-batch as running averages want it (over the count - 1)
  std::span<const Measurement> measures{};  // to be taken first, in training

  BatchNormGroup* group = nullptr;              // in training: with whom statistics are shared
  std::array<TensorView, 2> group_gradients{};  // [C], with a group: room for its dgamma and dbeta

  ops::Dropout::Mask mask{};  // dropout only
};

enum class Pass { training, evaluation };

void forward(ops::Backend& backend, const Operation& operation, const Layer& layer, Pass pass);
void backward(ops::Backend& backend, const Operation& operation, const Layer& layer);
// Writes the y of a training pass again, to the bit (batch norms and sums).
void recompute(ops::Backend& backend, const Operation& operation, const Layer& layer);

}  // namespace brigade::network
