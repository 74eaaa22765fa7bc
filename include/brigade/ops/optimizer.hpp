/// Updates of weights, all elementwise over flat tensors of equal size (Blend: or of equal shape, with any pitch).
#pragma once

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

/// y = keep * y + add * x: sums of gradients (1, 1) and running averages (m, 1 - m).
struct Blend {
  float keep = 1, add = 1;
  struct Update {
    ConstTensorView x;
    TensorView y;
  };
};

/// Stochastic gradient descent with momentum:
///     g += weight_decay * w;   v = momentum * v + g;   w -= learning_rate * (nesterov ? g + momentum * v : v)
/// Sutskever et al., "On the importance of initialization and momentum", ICML 2013 (PyTorch's form).
struct Sgd {
  float learning_rate = 0.01F;
  float momentum = 0.9F;
  bool nesterov = false;
  float weight_decay = 0;
  struct Update {
    ConstTensorView gradient;
    TensorView weights, velocity;
  };
};

/// Adam with bias correction:
///     g += weight_decay * w;   m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
///     w -= learning_rate * (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + epsilon)
/// Kingma, Ba, "Adam", ICLR 2015, algorithm 1.
struct Adam {
  float learning_rate = 1e-3F;
  float beta1 = 0.9F, beta2 = 0.999F;
  float epsilon = 1e-7F;  ///< Keras' default
  float weight_decay = 0;
  std::int64_t step = 1;  ///< counted from 1
  struct Update {
    ConstTensorView gradient;
    TensorView weights, first_moment, second_moment;
  };
};

}  // namespace brigade::ops
