#include "oracle/local_response_norm.hpp"

#include <cmath>
#include <ostream>
#include <string>

#include "brigade/core/error.hpp"
#include "ops/support.hpp"

namespace brigade::tests {
namespace {

struct Case {
  std::string name;
  Shape x;
  ops::LocalResponseNorm op;
  std::int64_t gap = 0;
  float range = 10;
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
const auto name_of = [](const auto& info) { return info.param.name; };

const Case kCases[] = {
    {"Published", {2, 5, 7, 96}, {}},
    {"PublishedAndLoud", {2, 5, 7, 96}, {}, 0, 300},  // the sum outweighs the bias
    {"FewerChannelsThanNeighbours", {2, 3, 4, 3}, {.size = 9, .bias = 1, .alpha = 0.01F}},
    {"Itself", {1, 6, 5, 17}, {.size = 1, .bias = 1, .alpha = 0.1F, .beta = 0.5F}},
    {"Slices", {3, 5, 5, 33}, {.size = 7, .bias = 0.5F, .alpha = 0.02F}, 7},
    {"ManyPixels", {3, 31, 29, 13}, {.size = 3, .bias = 1, .alpha = 0.1F, .beta = 1.25F}},
};

class LocalResponseNorm : public ::testing::TestWithParam<Case> {};

TEST_P(LocalResponseNorm, IsTheOracle) {
  const Case& c = GetParam();
  const std::int64_t pitch = c.x.back() + c.gap;
  const Tensor x = random_tensor(c.x, 1, -c.range, c.range, pitch);
  Tensor y(c.x, pitch), dx(c.x, pitch), dy = random_tensor(c.x, 2, -1, 1, pitch);
  backend().forward(c.op, {.x = x.view(), .y = y.view()});
  expect_near(y, oracle::forward(c.op, to_array(x)), 1e-6, "y");
  const oracle::Array expected = oracle::backward(c.op, to_array(x), to_array(dy));
  backend().backward(c.op, {.x = x.view(), .dy = dy.view(), .dx = dx.view()});
  expect_near(dx, expected, 1e-6, "dx");
  backend().backward(c.op, {.x = x.view(), .dy = dy.view(), .dx = dy.view()});
  expect_near(dy, expected, 1e-6, "dx in the place of dy");
}

INSTANTIATE_TEST_SUITE_P(All, LocalResponseNorm, ::testing::ValuesIn(kCases), name_of);

TEST(OracleLocalResponseNorm, BackwardIsTheJacobian) {
  for (const auto& op : {ops::LocalResponseNorm{}, {.size = 3, .bias = 1, .alpha = 0.5F, .beta = 0.5F}}) {
    const auto x = random_array({2, 2, 1, 7}, 1, -3, 3), dy = random_array(x.shape, 2);
    expect_gradient([&](const auto& v) { return oracle::forward(op, v); }, x, dy, oracle::backward(op, x, dy), 1e-7);
  }
}

TEST(OracleLocalResponseNorm, IsThePapersFormula) {
  oracle::Array x({1, 1, 1, 3});
  x.values = {1, 2, 3};
  const ops::LocalResponseNorm op{.size = 3, .bias = 2, .alpha = 1, .beta = 1};
  const oracle::Array y = oracle::forward(op, x);
  EXPECT_DOUBLE_EQ(y[0], 1.0 / (2 + 1 + 4));
  EXPECT_DOUBLE_EQ(y[1], 2.0 / (2 + 1 + 4 + 9));
  EXPECT_DOUBLE_EQ(y[2], 3.0 / (2 + 4 + 9));
}

TEST(LocalResponseNormShape, IsThatOfTheInput) {
  EXPECT_EQ(ops::LocalResponseNorm{}.output_shape({2, 3, 4, 5}), (Shape{2, 3, 4, 5}));
  EXPECT_THROW(static_cast<void>(ops::LocalResponseNorm{}.output_shape({2, 3})), OptionError);
  EXPECT_THROW(static_cast<void>(ops::LocalResponseNorm{.size = 4}.output_shape({2, 3, 4, 5})), OptionError);
  EXPECT_THROW(static_cast<void>(ops::LocalResponseNorm{.bias = 0}.output_shape({2, 3, 4, 5})), OptionError);
}

}  // namespace
}  // namespace brigade::tests
