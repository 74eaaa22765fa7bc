/// Softmax and its cross-entropy against integer labels, in one numerically safe operation.
///
///     p = softmax(logits);   loss[n] = -log p[n, labels[n]]
#pragma once

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct SoftmaxCrossEntropy {
  struct Forward {
    ConstTensorView logits;    ///< [N, classes]
    ConstTensorView labels;    ///< i32 [N], each in [0, classes)
    TensorView loss;           ///< f32 [N]
    TensorView label_rank;     ///< i32 [N]: classes ranked above the label (0: top-1 is right; < k:
                               ///< top-k is right). Equal logits: the lower class ranks first.
    TensorView probabilities;  ///< [N, classes], or empty
  };
  /// dlogits = scale * (p - onehot(label)).
  struct Backward {
    ConstTensorView logits, labels;
    float scale = 1;     ///< 1 / size of the global batch
    TensorView dlogits;  ///< may be logits
  };
};

}  // namespace brigade::ops
