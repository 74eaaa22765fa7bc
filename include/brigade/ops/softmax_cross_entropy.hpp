/// Softmax and its cross-entropy against target distributions, in one numerically safe operation.
///
///     p = softmax(logits);   loss[n] = -sum_k q[n, k] log p[n, k]
///
/// The target q is the label; or it is shared between two labels, for mixed pictures (Zhang et al., "mixup", ICLR
/// 2018); and part of it may be spread over all classes (Szegedy et al., "Rethinking the Inception architecture",
/// CVPR 2016, section 7):
///
///     q = (1 - smoothing) * (share * onehot(label) + (1 - share) * onehot(mixed label)) + smoothing / classes
#pragma once

#include "brigade/core/tensor.hpp"

namespace brigade::ops {

struct SoftmaxCrossEntropy {
  float smoothing = 0;  ///< in [0, 1)

  /// The second label of each sample; empty: each has one.
  struct Mixed {
    ConstTensorView labels;  ///< i32 [N], each in [0, classes)
    ConstTensorView share;   ///< f32 [N], of the first label, in [0, 1]
  };

  struct Forward {
    ConstTensorView logits;    ///< [N, classes]
    ConstTensorView labels;    ///< i32 [N], each in [0, classes)
    TensorView loss;           ///< f32 [N]
    TensorView label_rank;     ///< i32 [N]: classes ranked above the (first) label (0: top-1 is right; < k:
                               ///< top-k is right). Equal logits: the lower class ranks first.
    TensorView probabilities;  ///< [N, classes], or empty
    Mixed mixed = {};
  };
  /// dlogits = scale * (p - q).
  struct Backward {
    ConstTensorView logits, labels;
    float scale = 1;     ///< 1 / size of the global batch
    TensorView dlogits;  ///< may be logits
    Mixed mixed = {};
  };
};

}  // namespace brigade::ops
