#include "oracle/relu.hpp"

#include <limits>

#include "ops/support.hpp"

namespace brigade::tests {
namespace {

struct Case {
  Shape shape;
  std::int64_t pitch = 0;
};
const Case kCases[] = {
    {{1, 1}}, {{7, 5}}, {{3, 5, 7, 13}}, {{2, 9, 5, 33}, 40}, {{5, 31, 29, 17}}, {{5, 31, 29, 17}, 19}};

TEST(Relu, IsTheOracle) {
  for (const auto& [shape, pitch] : kCases) {
    const Tensor x = random_tensor(shape, 1, -1, 1, pitch), dy = random_tensor(shape, 2, -1, 1, pitch);
    Tensor y(shape, pitch), dx(shape);
    backend().forward(ops::Relu{}, {x.view(), y.view()});
    expect_near(y, oracle::relu(to_array(x)), 0, "y");
    backend().backward(ops::Relu{}, {y.view(), dy.view(), dx.view()});
    expect_near(dx, oracle::relu_backward(to_array(y), to_array(dy)), 0, "dx");
  }
}

TEST(Relu, InPlaceAndWithNan) {
  Tensor x = random_tensor({2, 50}, 3);
  x[3] = x[77] = std::numeric_limits<float>::quiet_NaN();
  const oracle::Array expected = oracle::relu(to_array(x));
  backend().forward(ops::Relu{}, {x.view(), x.view()});
  expect_near(x, expected, 0);
}

TEST(OracleRelu, GradientIsTheNumericalOne) {
  const auto x = random_array({3, 4, 5, 2}, 4), dy = random_array(x.shape, 5);
  expect_gradient(oracle::relu, x, dy, oracle::relu_backward(oracle::relu(x), dy));
}

}  // namespace
}  // namespace brigade::tests
