#include "oracle/add.hpp"

#include "ops/support.hpp"

namespace brigade::tests {
namespace {

using ops::Activation;

const ops::Add kOps[] = {{},
                         {.activation = Activation::relu},
                         {.activation = Activation::relu6},
                         {.scale = 0.17F},
                         {.scale = -0.3F, .activation = Activation::relu6}};

struct Case {
  Shape shape;
  std::int64_t pitch = 0;
};
const Case kCases[] = {{{1, 1}}, {{7, 5}}, {{3, 5, 7, 13}}, {{2, 9, 5, 33}, 40}, {{5, 31, 29, 17}}};

TEST(Add, IsTheOracle) {
  for (const auto& op : kOps)
    for (const auto& [shape, pitch] : kCases) {
      const Tensor a = random_tensor(shape, 1, -8, 8, pitch), b = random_tensor(shape, 2, -5, 5);
      Tensor y(shape, pitch), da(shape, pitch), db(shape);
      backend().forward(op, {a.view(), b.view(), y.view()});
      expect_near(y, oracle::add(op, to_array(a), to_array(b)), 1e-7, "y");

      const Tensor dy = random_tensor(shape, 3);
      const auto expected = oracle::add_backward(op, to_array(y), to_array(dy));
      backend().backward(op, {y.view(), dy.view(), da.view(), db.view()});
      expect_near(da, expected.da, 0, "da");
      expect_near(db, expected.db, 1e-7, "db");
    }
}

// Reading through a normalisation is, to the bit, normalising first.
TEST(Add, NormalisesWhatItReads) {
  for (const auto& op : kOps)
    for (const auto of_a : {Activation::none, Activation::relu})
      for (const auto& [shape, pitch] : kCases) {
        const std::int64_t channels = shape.back();
        const Tensor a = random_tensor(shape, 1, -8, 8, pitch), b = random_tensor(shape, 2, -5, 5);
        const Tensor gamma = random_tensor({channels}, 3), beta = random_tensor({channels}, 4),
                     mean = random_tensor({channels}, 5), variance = random_tensor({channels}, 6, 0.5, 2);
        const ops::Normalisation by{gamma.view(), beta.view(), mean.view(), variance.view(), 1e-3F, of_a};
        const ops::Normalisation of_b{beta.view(), mean.view(), gamma.view(), variance.view()};
        const auto normalised = [&](const Tensor& x, const ops::Normalisation& n) {
          Tensor y(x.shape, x.pitch);
          backend().infer({.channels = channels, .epsilon = n.epsilon, .activation = n.activation},
                          {x.view(), n.gamma, n.beta, n.mean, n.variance, y.view()});
          return y;
        };
        const Tensor a2 = normalised(a, by), b2 = normalised(b, of_b);
        Tensor y(shape, pitch), expected(shape, pitch);
        backend().forward(op, {a2.view(), b.view(), expected.view()});
        backend().forward(op, {a.view(), b.view(), y.view(), by, {}});
        expect_near(y, to_array(expected), 0, "of a");
        backend().forward(op, {a2.view(), b2.view(), expected.view()});
        backend().forward(op, {a.view(), b.view(), y.view(), by, of_b});
        expect_near(y, to_array(expected), 0, "of both");
      }
}

TEST(Add, InPlace) {
  for (const auto& op : kOps) {
    const Shape shape{3, 5, 4, 7};
    Tensor a = random_tensor(shape, 1, -8, 8), b = random_tensor(shape, 2, -5, 5), dy = random_tensor(shape, 3);
    const auto y = oracle::add(op, to_array(a), to_array(b));
    backend().forward(op, {a.view(), b.view(), a.view()});
    expect_near(a, y, 1e-7, "y in place of a");
    const auto expected = oracle::add_backward(op, to_array(a), to_array(dy));
    Tensor other(shape), dy_again = dy;
    backend().backward(op, {a.view(), dy.view(), other.view(), dy.view()});
    expect_near(other, expected.da, 0, "da");
    expect_near(dy, expected.db, 1e-7, "db in place of dy");
    backend().backward(op, {a.view(), dy_again.view(), dy_again.view(), {}});
    expect_near(dy_again, expected.da, 0, "da in place of dy");
  }
}

TEST(Add, BothGradientsInPlace) {
  const ops::Add op{.activation = Activation::relu};
  const Tensor y = random_tensor({9, 31}, 1);
  Tensor dy = random_tensor(y.shape, 2);
  const auto expected = oracle::add_backward(op, to_array(y), to_array(dy));
  backend().backward(op, {y.view(), dy.view(), dy.view(), dy.view()});
  expect_near(dy, expected.da, 0);
}

TEST(Add, RefusesOtherShapes) { EXPECT_THROW(ops::Add{}.output_shape({2, 3, 3, 4}, {2, 3, 3, 5}), OptionError); }

TEST(OracleAdd, GradientsAreTheNumericalOnes) {
  for (const auto& op : kOps) {
    const auto a = random_array({3, 4, 5, 2}, 1, -8, 8), b = random_array(a.shape, 2, -5, 5);
    const auto dy = random_array(a.shape, 3);
    const auto g = oracle::add_backward(op, oracle::add(op, a, b), dy);
    expect_gradient([&](const auto& v) { return oracle::add(op, v, b); }, a, dy, g.da);
    expect_gradient([&](const auto& v) { return oracle::add(op, a, v); }, b, dy, g.db);
  }
}

}  // namespace
}  // namespace brigade::tests
