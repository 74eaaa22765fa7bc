// Tensors that are made by the product that reads them: a block's pixels are written right before the block multiplies
// them, and so come from its cache. What is read for that hides behind the products of other threads.
#pragma once

#include <cstdint>
#include <span>

#include "host_backend.hpp"
#include "normalise.hpp"

namespace brigade::host {

class PixelMaker {
 public:
  virtual ~PixelMaker() = default;
  // Writes the channels [first, first + channels) of these pixels, numbered (n * height + y) * width + x.
  virtual void make(std::span<const std::int64_t> pixels, std::int64_t first, std::int64_t channels) const = 0;
};

// The y of a sum (add.cpp).
class SumMaker final : public PixelMaker {
 public:
  SumMaker(HostBackend& backend, const ops::Add& op, const ops::Add::Forward& tensors);
  void make(std::span<const std::int64_t> pixels, std::int64_t first, std::int64_t channels) const override;

 private:
  ops::Add op_;
  ops::Add::Forward tensors_;
  Normaliser of_a_, of_b_;
};

// The dx of a batch norm without an activation, whose sums are given (batch_norm.cpp).
class NormGradientMaker final : public PixelMaker {
 public:
  NormGradientMaker(HostBackend& backend, const ops::BatchNorm& op, const ops::BatchNorm::Backward& tensors);
  void make(std::span<const std::int64_t> pixels, std::int64_t first, std::int64_t channels) const override;

 private:
  ops::BatchNorm::Backward tensors_;
  float* coefficients_;
};

}  // namespace brigade::host
