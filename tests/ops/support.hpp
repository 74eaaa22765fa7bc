// What the tests of operations share: tensors, comparison with an oracle, numerical gradients.
//
// The binary's main() starts Kokkos with BRIGADE_TEST_THREADS threads (2 if unset). Every tensor that
// passes through expect_near() is also fingerprinted, and same_bits_test.cpp runs the binary again
// with other thread counts and compares: a test that uses expect_near() checks that too, for free.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "brigade/core/shape.hpp"
#include "brigade/core/tensor.hpp"
#include "brigade/ops/backend.hpp"
#include "oracle/array.hpp"

namespace brigade::tests {

/// The backend under test.
ops::Backend& backend();

/// Host tensor whose rows (of the last extent) lie `pitch` floats apart. New values are NaN, so that an output nobody
/// wrote is seen; expect_near() also demands that the gaps between rows still are.
struct Tensor {
  Shape shape;
  std::int64_t pitch = 0;
  std::vector<float> values;

  Tensor() = default;
  explicit Tensor(const Shape& shape, std::int64_t pitch = 0);
  /// Rounds doubles to float, e.g. the input of an oracle.
  explicit Tensor(const oracle::Array& array, std::int64_t pitch = 0);

  std::int64_t rows() const { return shape.size() / shape.back(); }
  /// Element i in dense order, whatever the pitch.
  float& operator[](std::int64_t i);
  float operator[](std::int64_t i) const { return const_cast<Tensor&>(*this)[i]; }
  TensorView view() { return {values.data(), shape, DType::f32, pitch}; }
  ConstTensorView view() const { return {values.data(), shape, DType::f32, pitch}; }
};

/// Uniform in [low, high), the same on every machine.
Tensor random_tensor(const Shape& shape, std::uint64_t seed, float low = -1, float high = 1, std::int64_t pitch = 0);
oracle::Array random_array(const Shape& shape, std::uint64_t seed, double low = -1, double high = 1);

/// The oracle's view of a tensor.
oracle::Array to_array(const Tensor& tensor);

/// max |actual - expected| <= error * max |expected|; reports the worst element. With error 0: equal.
/// NaN matches NaN only.
void expect_near(const Tensor& actual, const oracle::Array& expected, double error, const char* what = "");

/// Adds `bytes` to the fingerprint of the running test (for results that are no Tensor).
void fingerprint(const void* data, std::size_t bytes);

/// Compares dx, which claims to be the gradient of sum(dy * f(x)) by x, with central differences in double.
void expect_gradient(const std::function<oracle::Array(const oracle::Array& x)>& f, const oracle::Array& x,
                     const oracle::Array& dy, const oracle::Array& dx, double error = 1e-6);

}  // namespace brigade::tests
