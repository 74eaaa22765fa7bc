// Small graphs that between them hold whatever an executor must be able to do.
#pragma once

#include "brigade/network/graph.hpp"

namespace brigade::tests {

/// Every operation once; `joined`: ReLU follows its producer and is fused, else a dropout that drops nothing
/// stands between them and keeps them apart.
network::Graph every_operation(bool joined = true, bool with_batch_norm = true, float rate = 0.3F);
/// Every way in which tensors have several readers: shortcuts, branches, a sum of a tensor with itself, parts of a
/// concatenation that others read, views of what others read.
network::Graph branches(bool joined = true, float rate = 0.3F);
/// A small DenseNet with a residual block at its end: batch norms over growing concatenations, one inside another,
/// whose parts have other readers; batch norms that can be normalised on read, and that cannot; sums in a chain.
network::Graph dense_blocks();
/// A small ResNet: sums that convolutions with and without a stride read.
network::Graph stages();
/// Operations of few networks: groups of channels, local response normalisation, scores times a factor.
network::Graph towers();

}  // namespace brigade::tests
