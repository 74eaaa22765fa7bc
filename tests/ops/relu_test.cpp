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
  for (const auto& [shape, pitch] : kCases)
    for (const auto& op : {ops::Relu{}, ops::Relu{.max = 6}}) {
      const Tensor x = random_tensor(shape, 1, -10, 10, pitch), dy = random_tensor(shape, 2, -1, 1, pitch);
      Tensor y(shape, pitch), dx(shape);
      backend().forward(op, {x.view(), y.view()});
      expect_near(y, oracle::relu(op, to_array(x)), 0, "y");
      backend().backward(op, {y.view(), dy.view(), dx.view()});
      expect_near(dx, oracle::relu_backward(op, to_array(y), to_array(dy)), 0, "dx");
    }
}

TEST(Relu, InPlaceAndWithNan) {
  for (const auto& op : {ops::Relu{}, ops::Relu{.max = 0.5F}}) {
    Tensor x = random_tensor({2, 50}, 3);
    x[3] = x[77] = std::numeric_limits<float>::quiet_NaN();
    const oracle::Array expected = oracle::relu(op, to_array(x));
    backend().forward(op, {x.view(), x.view()});
    expect_near(x, expected, 0);
  }
}

TEST(OracleRelu, GradientIsTheNumericalOne) {
  const auto x = random_array({3, 4, 5, 2}, 4), dy = random_array(x.shape, 5);
  for (const auto& op : {ops::Relu{}, ops::Relu{.max = 0.5F}})
    expect_gradient([&](const auto& v) { return oracle::relu(op, v); }, x, dy,
                    oracle::relu_backward(op, oracle::relu(op, x), dy));
}

}  // namespace
}  // namespace brigade::tests
