#include "oracle/batch_norm.hpp"

#include <cmath>
#include <limits>

#include "ops/support.hpp"

namespace brigade::tests {
namespace {

using ops::Activation;

struct Case {
  Shape x;
  std::int64_t pitch = 0;
  float mean = 0.5F, spread = 1;  // x is uniform in [mean - spread, mean + spread)
  double error = 2e-6;            // of y, relative to its largest
  double gradient_error = 1e-5;
};
const Case kCases[] = {
    {{64, 1}},
    {{2, 1, 1, 3}, 0, 0.5F, 1, 2e-6, 1e-4},  // dx of two pixels nearly cancels
    {{5, 7, 3, 1}},
    {{1, 3, 3, 5}},  // fewer pixels than lanes
    {{3, 13, 11, 6}},
    {{3, 13, 11, 6}, 9},
    {{4, 28, 28, 32}},
    {{5, 17, 13, 33}},
    {{3, 9, 11, 67}, 80},
    {{37, 100}},
    {{2, 7, 7, 1000}},
    {{2, 3, 5, 2047}},
    {{2, 9, 11, 2048}},
    {{64, 14, 14, 10}, 0, 5, 0.1F, 2e-5, 1e-4},
    // The input itself is only known to 3e-5 of its deviation here, and so are mean and y.
    {{16, 28, 28, 12}, 0, 1000, 1.7320508F, 1e-4, 1e-3},
    {{16, 28, 28, 48}, 0, -1000, 1.7320508F, 1e-4, 1e-3},
};

Tensor vector_of(std::int64_t channels, std::uint64_t seed, float low, float high) {
  return random_tensor({channels}, seed, low, high);
}

// An oracle's y that lies next to a kink of ReLU or ReLU6 may round to its other side: such elements of x are moved
// away.
void avoid_kinks(const ops::BatchNorm& op, Tensor& x, const Tensor& gamma, const Tensor& beta) {
  constexpr double kKink = 6e-4;
  ops::BatchNorm linear = op;
  linear.activation = Activation::none;
  for (bool moved = true; moved;) {
    moved = false;
    const auto y = oracle::batch_norm(linear, to_array(x), to_array(gamma), to_array(beta)).y;
    for (std::int64_t i = 0; i < x.shape.size(); ++i)
      if (std::abs(y[i]) < kKink || std::abs(y[i] - 6) < kKink)
        x[i] += std::abs(x[i]) < 100 ? 0.01F * std::abs(x[i]) + 1e-3F : 0.01F, moved = true;
  }
}

TEST(BatchNorm, IsTheOracle) {
  for (const auto& [shape, pitch, mean, spread, error, gradient_error] : kCases)
    for (const auto activation : {Activation::none, Activation::relu, Activation::relu6}) {
      SCOPED_TRACE(to_string(shape));
      const std::int64_t channels = shape.back();
      const ops::BatchNorm op{.channels = channels, .activation = activation};
      Tensor x = random_tensor(shape, 1, mean - spread, mean + spread, pitch);
      const float reach = activation == Activation::relu6 ? 5 : 1.5F;  // beyond 6
      const Tensor gamma = vector_of(channels, 2, -reach, reach), beta = vector_of(channels, 3, -1, 1);
      if (activation != Activation::none) avoid_kinks(op, x, gamma, beta);
      Tensor y(shape, pitch), batch_mean({channels}), variance({channels});
      backend().forward(op, {x.view(), gamma.view(), beta.view(), y.view(), batch_mean.view(), variance.view()});
      const auto expected = oracle::batch_norm(op, to_array(x), to_array(gamma), to_array(beta));
      expect_near(batch_mean, expected.mean, 1e-6, "mean");
      expect_near(variance, expected.variance, 3e-6, "variance");
      expect_near(y, expected.y, error, "y");

      const Tensor dy = random_tensor(shape, 4, -1, 1.5, pitch);
      Tensor dx(shape, pitch), dgamma({channels}), dbeta({channels});
      backend().backward(op, {x.view(), gamma.view(), beta.view(), batch_mean.view(), variance.view(), dy.view(),
                              dx.view(), dgamma.view(), dbeta.view()});
      const auto d = oracle::batch_norm_backward(op, to_array(x), to_array(gamma), to_array(beta), to_array(dy));
      expect_near(dx, d.dx, gradient_error, "dx");
      expect_near(dgamma, d.dgamma, gradient_error, "dgamma");
      expect_near(dbeta, d.dbeta, 1e-5, "dbeta");
    }
}

TEST(BatchNorm, VarianceSurvivesALargeMean) {
  // mean 1000, deviation 1: the naive mean of squares minus square of the mean keeps no digit of it in float.
  const Shape shape{64, 28, 28, 3};
  Tensor x(shape);
  for (std::int64_t i = 0; i < shape.size(); ++i) x[i] = 1000.0F + (i / 3 % 2 == 0 ? 1.0F : -1.0F);
  const Tensor one = vector_of(3, 1, 1, 1), zero = vector_of(3, 1, 0, 0);
  Tensor y(shape), mean({3}), variance({3});
  backend().forward(ops::BatchNorm{.channels = 3},
                    {x.view(), one.view(), zero.view(), y.view(), mean.view(), variance.view()});
  for (std::int64_t c = 0; c < 3; ++c) {
    EXPECT_EQ(mean[c], 1000.0F);
    EXPECT_NEAR(variance[c], 1, 1e-6);
  }
}

TEST(BatchNorm, StatisticsAlone) {
  for (const auto& [shape, pitch] :
       {std::pair<Shape, std::int64_t>{{3, 13, 11, 6}, 0}, {{3, 13, 11, 6}, 9}, {{4, 28, 28, 32}, 0}}) {
    const std::int64_t channels = shape.back();
    const ops::BatchNorm op{.channels = channels};
    const Tensor x = random_tensor(shape, 1, -2, 3, pitch), one = vector_of(channels, 1, 1, 1);
    Tensor y(shape, channels + 1), mean({channels}), variance({channels}), mean2({channels}), variance2({channels});
    backend().forward(op, {x.view(), one.view(), one.view(), y.view(), mean.view(), variance.view()});
    backend().forward(op, {x.view(), {}, {}, {}, mean2.view(), variance2.view()});
    expect_near(mean2, to_array(mean), 0, "mean");
    expect_near(variance2, to_array(variance), 0, "variance");
  }
}

TEST(BatchNorm, InferenceTakesGivenStatistics) {
  for (const auto& [shape, pitch] :
       {std::pair<Shape, std::int64_t>{{3, 5, 7, 6}, 0}, {{3, 5, 7, 6}, 7}, {{9, 130}, 0}}) {
    const std::int64_t channels = shape.back();
    const ops::BatchNorm op{.channels = channels, .activation = Activation::relu};
    Tensor x = random_tensor(shape, 1, -2, 2, pitch);
    const Tensor gamma = vector_of(channels, 2, -1, 1), beta = vector_of(channels, 3, -1, 1),
                 mean = vector_of(channels, 4, -1, 1), variance = vector_of(channels, 5, 0.5, 2);
    const auto expected =
        oracle::batch_norm_infer(op, to_array(x), to_array(gamma), to_array(beta), to_array(mean), to_array(variance));
    backend().infer(op, {x.view(), gamma.view(), beta.view(), mean.view(), variance.view(), x.view()});  // in place
    expect_near(x, expected, 1e-6);
  }
}

TEST(BatchNorm, BackwardInPlaceAndWithoutDx) {
  const Shape shape{4, 6, 5, 20};
  const ops::BatchNorm op{.channels = 20, .activation = Activation::relu};
  const Tensor x = random_tensor(shape, 1), gamma = vector_of(20, 2, 0.5, 1), beta = vector_of(20, 3, -1, 1);
  Tensor y(shape), mean({20}), variance({20}), dx(shape), dgamma({20}), dbeta({20}), dgamma2({20}), dbeta2({20});
  backend().forward(op, {x.view(), gamma.view(), beta.view(), y.view(), mean.view(), variance.view()});
  Tensor dy = random_tensor(shape, 4);
  ops::BatchNorm::Backward pass{x.view(),  gamma.view(), beta.view(),   mean.view(), variance.view(),
                                dy.view(), dx.view(),    dgamma.view(), dbeta.view()};
  backend().backward(op, pass);
  pass.dx = {}, pass.dgamma = dgamma2.view(), pass.dbeta = dbeta2.view();
  backend().backward(op, pass);
  expect_near(dgamma2, to_array(dgamma), 0, "dgamma without dx");
  expect_near(dbeta2, to_array(dbeta), 0, "dbeta without dx");
  pass.dx = dy.view();
  backend().backward(op, pass);
  expect_near(dy, to_array(dx), 0, "dx in place of dy");
}

TEST(BatchNorm, NanReachesTheOutput) {
  Tensor x = random_tensor({4, 3, 3, 8}, 1);
  x[17] = std::numeric_limits<float>::quiet_NaN();  // channel 1
  const Tensor one = vector_of(8, 1, 1, 1);
  Tensor y(x.shape), mean({8}), variance({8});
  backend().forward(ops::BatchNorm{.channels = 8, .activation = Activation::relu},
                    {x.view(), one.view(), one.view(), y.view(), mean.view(), variance.view()});
  for (std::int64_t i = 0; i < y.shape.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i % 8 == 1) << i;
}

TEST(OracleBatchNorm, GradientsAreTheNumericalOnes) {
  for (const auto activation : {Activation::none, Activation::relu, Activation::relu6}) {
    const ops::BatchNorm op{.channels = 3, .activation = activation};
    const auto x = random_array({2, 3, 2, 3}, 1), gamma = random_array({3}, 2, 4, 6), beta = random_array({3}, 3),
               dy = random_array(x.shape, 4);
    const auto d = oracle::batch_norm_backward(op, x, gamma, beta, dy);
    expect_gradient([&](const oracle::Array& v) { return oracle::batch_norm(op, v, gamma, beta).y; }, x, dy, d.dx);
    expect_gradient([&](const oracle::Array& v) { return oracle::batch_norm(op, x, v, beta).y; }, gamma, dy, d.dgamma);
    expect_gradient([&](const oracle::Array& v) { return oracle::batch_norm(op, x, gamma, v).y; }, beta, dy, d.dbeta);
  }
}

}  // namespace
}  // namespace brigade::tests
