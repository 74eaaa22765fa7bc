// Dense layers: the oracle's backward against its forward (numerical Jacobian), then the backend against the oracle.
#include "oracle/dense.hpp"

#include <ostream>
#include <string>

#include "ops/support.hpp"
#include "ops/weighted_layer.hpp"

namespace brigade::tests {
namespace {

struct Case {
  std::string name;
  std::int64_t rows = 1;
  ops::Dense dense;
  bool bias = true;
  std::int64_t gap = 0;  // between the rows of x, y and their gradients
  double error = 2e-6;   // relative to the largest element
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
const auto name_of = [](const auto& info) { return info.param.name; };

constexpr auto kRelu = ops::Activation::relu, kRelu6 = ops::Activation::relu6;

// (Deep sums are several times as large as 6, their largest element once ReLU6 cut them.)
const Case kCases[] = {
    {"One", 1, {1, 1}},
    {"OneRow", 1, {300, 100, kRelu}},
    {"Narrow", 64, {128, 10}},
    {"Wide", 5, {33, 517, kRelu}},
    {"WideInPlace", 7, {100, 256}, false},
    {"Deep", 13, {3136, 128, kRelu6}, true, 0, 2e-5},
    {"Slices", 19, {65, 31, kRelu}, true, 3},
    {"ManyRows", 1500, {17, 33}},
};

oracle::Array bias_of(const Case& c) { return c.bias ? random_array({c.dense.out_features}, 3) : oracle::Array(); }

TEST(OracleDense, BackwardIsTheJacobian) {
  const ops::Dense dense{4, 3, kRelu};
  const auto x = random_array({5, 4}, 1), w = random_array(dense.weight_shape(), 2), bias = random_array({3}, 3);
  const auto y = oracle::forward(dense, x, w, bias), dy = random_array(y.shape, 4);
  const auto g = oracle::backward(dense, x, w, y, dy);
  constexpr double kError = 1e-7;
  expect_gradient([&](const auto& v) { return oracle::forward(dense, v, w, bias); }, x, dy, g.dx, kError);
  expect_gradient([&](const auto& v) { return oracle::forward(dense, x, v, bias); }, w, dy, g.dw, kError);
  expect_gradient([&](const auto& v) { return oracle::forward(dense, x, w, v); }, bias, dy, g.dbias, kError);
}

class Dense : public ::testing::TestWithParam<Case> {};

TEST_P(Dense, ForwardIsTheOracle) {
  const Case& c = GetParam();
  const auto x = random_tensor({c.rows, c.dense.in_features}, 1, -1, 1, c.dense.in_features + c.gap);
  const auto w = random_tensor(c.dense.weight_shape(), 2);
  const Tensor bias = c.bias ? Tensor(bias_of(c)) : Tensor();
  Tensor y({c.rows, c.dense.out_features}, c.dense.out_features + c.gap);
  backend().forward(c.dense,
                    {.x = x.view(), .w = w.view(), .bias = c.bias ? bias.view() : ConstTensorView(), .y = y.view()});
  expect_near(y, oracle::forward(c.dense, to_array(x), to_array(w), c.bias ? to_array(bias) : oracle::Array()),
              c.error);
}

// Kept weights change no bit, and are those of now once they were cleared.
TEST_P(Dense, KeptWeightsAreTheWeights) {
  const Case& c = GetParam();
  const auto x = random_tensor({c.rows, c.dense.in_features}, 1, -1, 1, c.dense.in_features + c.gap);
  ops::KeptWeights kept;
  for (std::uint64_t seed : {2, 3}) {
    const auto w = random_tensor(c.dense.weight_shape(), seed);
    kept.clear();
    Tensor expected({c.rows, c.dense.out_features});
    backend().forward(c.dense, {.x = x.view(), .w = w.view(), .bias = {}, .y = expected.view()});
    for (int call = 0; call < 2; ++call) {
      Tensor y(expected.shape);
      backend().forward(c.dense, {.x = x.view(), .w = w.view(), .bias = {}, .y = y.view(), .kept = &kept});
      expect_near(y, to_array(expected), 0);
    }
  }
}

TEST_P(Dense, BackwardIsTheOracle) {
  const Case& c = GetParam();
  expect_backward_is_the_oracle(c.dense, {c.rows, c.dense.in_features}, c.gap, c.bias, c.error);
}

INSTANTIATE_TEST_SUITE_P(All, Dense, ::testing::ValuesIn(kCases), name_of);

}  // namespace
}  // namespace brigade::tests
