// Tensors in bf16 for the tests of operations.
#pragma once

#include <algorithm>
#include <vector>

#include "brigade/core/bf16.hpp"
#include "ops/support.hpp"

namespace brigade::tests {

// A tensor in bf16, gaps between rows included.
class Half {
 public:
  explicit Half(const Shape& shape, std::int64_t pitch = 0) : Half(Tensor(shape, pitch)) {}
  explicit Half(const Tensor& t) : shape_(t.shape), pitch_(t.pitch) {
    for (const float value : t.values) values_.emplace_back(value);
  }
  Tensor wide() const {
    Tensor t(shape_, pitch_);
    std::ranges::transform(values_, t.values.begin(), [](Bf16 value) { return static_cast<float>(value); });
    return t;
  }
  oracle::Array array() const { return to_array(wide()); }
  TensorView view() { return {values_.data(), shape_, DType::bf16, pitch_}; }
  ConstTensorView view() const { return {values_.data(), shape_, DType::bf16, pitch_}; }

 private:
  Shape shape_;
  std::int64_t pitch_;
  std::vector<Bf16> values_;
};

inline Half random_half(const Shape& shape, std::uint64_t seed, float low, float high, std::int64_t pitch) {
  return Half(random_tensor(shape, seed, low, high, pitch));
}

}  // namespace brigade::tests
