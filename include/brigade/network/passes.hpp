/// What is done to a graph before it is computed. Every pass can be switched off, and the results agree: to rounding
/// where a sum is taken in another order (producer_statistics, fold_batch_norm, gradient_through,
/// cancel_bias), to the bit elsewhere.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace brigade::network {

struct Passes {
  /// A ReLU that alone reads a convolution, a dense layer, a batch norm or a sum becomes part of it.
  bool fuse_activation = true;
  /// Evaluation: a batch norm that alone reads a convolution or a dense layer becomes its kernel and bias.
  bool fold_batch_norm = true;
  /// Training: a convolution measures mean and variance of what it stores, for the batch norm that follows; parts of a
  /// concatenation are measured once for all batch norms over it.
  bool producer_statistics = true;
  /// A batch norm whose readers can all normalise what they read is never stored.
  bool normalise_on_read = true;
  /// Training: a convolution takes the gradient of a batch norm that it alone reads through it (ops::GradientThrough);
  /// what is left to subtract, all batch norms over one tensor subtract together. And of several readers of a tensor
  /// the last one in backward, if it is a convolution that can, adds its gradient to that of the others, masks it for a
  /// sum, and sums it up for the batch norms in that sum (ops::SharedGradient).
  bool gradient_through = true;
  /// Training: a sum is computed by the 1x1 convolution that reads it first, and so is the gradient that a batch norm
  /// hands to the 1x1 convolution before it, if its sums are given: neither has a pass over memory of its own.
  bool make_on_read = true;
  /// Training: the sum over the gradient of a convolution's output is not taken for a bias that only batch norms read;
  /// it is zero.
  bool cancel_bias = true;
  /// Parts of a concatenation are computed in their place, and so are their gradients: nothing is copied.
  bool concat_in_place = true;
  /// Training: values that cost no product to be computed again live twice, for the readers in forward and for those
  /// in backward, as far as that makes a large plan smaller.
  bool recompute = true;
  /// Activations, dropout and sums overwrite an input that nobody else needs, and so do gradients.
  bool in_place = true;
};

struct PassName {
  std::string_view name;  ///< as in `--without-pass`: "concat-in-place"
  bool Passes::*enabled;
};
std::span<const PassName> pass_names();
/// All names, separated by commas.
std::string known_passes();

/// Switches a pass off. Throws OptionError for an unknown name, listing the known ones.
void disable(Passes& passes, std::string_view name);

}  // namespace brigade::network
