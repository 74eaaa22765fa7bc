// Convolution: the oracle's backward against its forward (numerical Jacobian), then the backend against the oracle.
#include "oracle/conv2d.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <string>

#include "brigade/core/error.hpp"
#include "brigade/core/memory.hpp"
#include "brigade/ops/batch_norm.hpp"
#include "ops/support.hpp"
#include "ops/weighted_layer.hpp"
#include "oracle/batch_norm.hpp"

namespace brigade::tests {
namespace {

struct Case {
  std::string name;
  Shape x;
  ops::Conv2d conv;
  bool bias = true;
  std::int64_t gap = 0;  // channels between the pixels of x, y and their gradients: slices of wider tensors
  double error = 2e-6;   // relative to the largest element
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
const auto name_of = [](const auto& info) { return info.param.name; };

constexpr auto kRelu = ops::Activation::relu, kRelu6 = ops::Activation::relu6;

ops::Conv2d conv(std::int64_t in, std::int64_t out, int kh, int kw, int stride = 1, int top = 0, int left = 0,
                 int bottom = 0, int right = 0, ops::Activation activation = ops::Activation::none) {
  return {in, out, kh, kw, stride, stride, top, left, bottom, right, activation};
}

ops::Conv2d grouped(std::int64_t groups, ops::Conv2d conv) {
  conv.groups = groups;
  return conv;
}

// Sums several times as large as 6, their largest element once ReLU6 cut them.
constexpr double kCutError = 2e-5;

// Winograd's transforms add and subtract numbers larger than the sums: measured 6e-7 (2 x 2) and 2.2e-6 (4 x 4) of the
// largest of 256 channels' sums, 1.5 and 5 times the direct sums' error, which 2e-6 leaves as much room.
constexpr double kWinograd2 = 3e-6, kWinograd4 = 1e-5;

// Extents that divide by nothing a kernel could block by, and enough of them to pass each block's limit.
const Case kCases[] = {
    {"OnePixel", {1, 1, 1, 1}, conv(1, 1, 1, 1)},
    {"Pointwise", {3, 7, 9, 33}, conv(33, 64, 1, 1, 1, 0, 0, 0, 0, kRelu)},
    {"Pointwise7x7", {4, 7, 7, 20}, conv(20, 200, 1, 1, 1, 0, 0, 0, 0, kRelu)},
    {"PointwiseSlices", {2, 7, 5, 17}, conv(17, 100, 1, 1, 1, 0, 0, 0, 0, kRelu), true, 3},
    {"PointwiseStride2", {2, 9, 7, 16}, conv(16, 17, 1, 1, 2)},
    {"PointwisePadded", {2, 5, 4, 5}, conv(5, 3, 1, 1, 1, 1, 0, 2, 1)},
    {"PointwiseDeep", {2, 3, 3, 1100}, conv(1100, 33, 1, 1, 1, 0, 0, 0, 0, kRelu6), false, 0, kCutError},
    {"Same3x3", {3, 13, 11, 17}, conv(17, 33, 3, 3, 1, 1, 1, 1, 1, kRelu)},
    {"Same3x3Slices", {3, 5, 6, 5}, conv(5, 3, 3, 3, 1, 1, 1, 1, 1, kRelu), true, 11},
    {"Same3x3On7x7", {1, 7, 7, 24}, conv(24, 112, 3, 3, 1, 1, 1, 1, 1, kRelu)},
    {"Valid3x3", {2, 18, 17, 32}, conv(32, 32, 3, 3), false},
    {"Valid3x3LargeMap", {1, 34, 37, 16}, conv(16, 64, 3, 3)},
    {"Stride2AsymmetricPadding", {2, 14, 13, 16}, conv(16, 100, 3, 3, 2, 0, 0, 1, 1)},
    {"Stride3", {3, 17, 16, 5}, conv(5, 17, 3, 3, 3, 2, 1, 0, 1, kRelu)},
    {"Stride3Kernel1x2", {2, 8, 7, 6}, conv(6, 7, 1, 2, 3, 0, 1, 0, 0)},
    {"Same5x5", {7, 14, 14, 32}, conv(32, 64, 5, 5, 1, 2, 2, 2, 2, kRelu6), true, 0, kCutError},
    {"Same5x5ManySteps", {2, 6, 7, 64}, conv(64, 16, 5, 5, 1, 2, 2, 2, 2, kRelu)},
    {"Kernel1x7", {2, 9, 10, 16}, conv(16, 17, 1, 7, 1, 0, 3, 0, 3)},
    {"Kernel7x1", {2, 9, 10, 17}, conv(17, 16, 7, 1, 1, 3, 0, 3, 0)},
    {"PaddingWiderThanImage", {2, 2, 3, 5}, conv(5, 16, 5, 5, 1, 4, 4, 4, 4)},
    {"FewChannels5x5", {9, 28, 28, 1}, conv(1, 32, 5, 5, 1, 2, 2, 2, 2, kRelu)},
    {"FewChannels3x3", {2, 33, 31, 3}, conv(3, 33, 3, 3)},
    {"FewChannels7x7Stride2", {2, 29, 31, 3}, conv(3, 64, 7, 7, 2, 2, 3, 3, 3), false},
    {"FewChannels11x11Stride4", {1, 51, 47, 3}, conv(3, 96, 11, 11, 4, 2, 2, 1, 2, kRelu)},
    {"FewChannelsSlices", {2, 9, 8, 2}, conv(2, 5, 3, 3, 1, 1, 1, 1, 1), true, 2},
    {"ColumnKernel", {2, 12, 9, 3}, conv(3, 5, 4, 1, 1, 1, 0, 2, 0)},
    {"ManySlices", {13, 24, 24, 3}, conv(3, 16, 3, 3, 1, 1, 1, 1, 1)},
    {"ManyPixels", {5, 30, 29, 7}, conv(7, 5, 3, 3, 1, 1, 1, 1, 1)},
    {"Winograd4x4", {2, 18, 17, 40}, conv(40, 72, 3, 3, 1, 1, 1, 1, 1, kRelu), true, 0, kWinograd4},
    {"Winograd4x4Slices", {3, 16, 19, 33}, conv(33, 47, 3, 3), true, 5, kWinograd4},
    {"Winograd4x4Deep", {1, 13, 14, 200}, conv(200, 24, 3, 3, 1, 1, 1, 1, 1, kRelu6), true, 0, 2 * kCutError},
    {"Winograd4x4OddPadding", {2, 9, 6, 16}, conv(16, 20, 3, 3, 1, 3, 0, 0, 4), false, 0, kWinograd4},
    {"Winograd2x2Slices", {2, 7, 5, 225}, conv(225, 230, 3, 3, 1, 1, 1, 1, 1, kRelu), true, 3, kWinograd2},
    {"Winograd2x2InGroups", {1, 5, 4, 385}, conv(385, 400, 3, 3, 1, 1, 1, 1, 1), false, 0, kWinograd2},
    {"WinogradGradientSlices", {7, 22, 23, 20}, conv(20, 33, 3, 3, 1, 1, 1, 1, 1), true, 2, kWinograd4},
    {"WinogradGradientBlocks", {2, 21, 18, 130}, conv(130, 70, 3, 3, 1, 1, 1, 1, 1), false, 0, kWinograd4},
    {"TwoGroups5x5", {3, 13, 11, 18}, grouped(2, conv(18, 34, 5, 5, 1, 2, 2, 2, 2, kRelu))},
    {"ThreeGroupsSlices", {2, 8, 7, 15}, grouped(3, conv(15, 6, 3, 3, 2, 1, 0, 0, 1, kRelu)), true, 5},
    {"GroupsOfFewChannels", {2, 9, 8, 4}, grouped(2, conv(4, 64, 3, 3)), false},
    {"GroupsOfOneChannel", {3, 6, 5, 17}, grouped(17, conv(17, 17, 3, 3, 1, 1, 1, 1, 1))},
    {"GroupedPointwise", {2, 7, 6, 40}, grouped(4, conv(40, 100, 1, 1, 1, 0, 0, 0, 0, kRelu6)), true, 0, kCutError},
    {"EmptyBatch", {0, 5, 5, 3}, conv(3, 4, 3, 3)},
};

oracle::Array bias_of(const Case& c) { return c.bias ? random_array({c.conv.out_channels}, 3) : oracle::Array(); }

class OracleConv2d : public ::testing::TestWithParam<Case> {};

TEST_P(OracleConv2d, BackwardIsTheJacobian) {
  const Case& c = GetParam();
  const auto x = random_array(c.x, 1), w = random_array(c.conv.weight_shape(), 2), bias = bias_of(c);
  const auto y = oracle::forward(c.conv, x, w, bias), dy = random_array(y.shape, 4);
  const auto g = oracle::backward(c.conv, x, w, y, dy);
  constexpr double kError = 1e-7;
  expect_gradient([&](const auto& v) { return oracle::forward(c.conv, v, w, bias); }, x, dy, g.dx, kError);
  expect_gradient([&](const auto& v) { return oracle::forward(c.conv, x, v, bias); }, w, dy, g.dw, kError);
  expect_gradient([&](const auto& v) { return oracle::forward(c.conv, x, w, v); }, bias, dy, g.dbias, kError);
}

INSTANTIATE_TEST_SUITE_P(All, OracleConv2d,
                         ::testing::Values(Case{"Same3x3", {2, 5, 4, 2}, conv(2, 3, 3, 3, 1, 1, 1, 1, 1)},
                                           Case{"Relu", {2, 4, 4, 2}, conv(2, 3, 2, 3, 1, 0, 1, 1, 1, kRelu)},
                                           Case{"Relu6", {1, 4, 5, 100}, conv(100, 2, 2, 3, 1, 0, 1, 1, 1, kRelu6)},
                                           Case{"Stride2", {1, 6, 5, 3}, conv(3, 2, 3, 2, 2, 1, 0, 0, 2)},
                                           Case{"Groups", {2, 4, 3, 6}, grouped(3, conv(6, 3, 2, 3, 1, 1, 0, 0, 1))}),
                         name_of);

class Conv2d : public ::testing::TestWithParam<Case> {};

Shape one_image(Shape batch) {
  batch[0] = 1;
  return batch;
}

TEST_P(Conv2d, ForwardIsTheOracle) {
  const Case& c = GetParam();
  const auto x = random_tensor(c.x, 1, -1, 1, c.x.back() + c.gap), w = random_tensor(c.conv.weight_shape(), 2);
  const Tensor bias = c.bias ? Tensor(bias_of(c)) : Tensor();
  const Shape y_shape = c.conv.output_shape(c.x);
  Tensor y(y_shape, y_shape.back() + c.gap);
  backend().forward(c.conv,
                    {.x = x.view(), .w = w.view(), .bias = c.bias ? bias.view() : ConstTensorView(), .y = y.view()});
  expect_near(y, oracle::forward(c.conv, to_array(x), to_array(w), c.bias ? to_array(bias) : oracle::Array()), c.error);
}

// Kept weights change no bit, for any number of images, and are those of now once they were cleared.
TEST_P(Conv2d, KeptWeightsAreTheWeights) {
  const Case& c = GetParam();
  const auto x = random_tensor(c.x, 1, -1, 1, c.x.back() + c.gap);
  auto w = random_tensor(c.conv.weight_shape(), 2);
  const Shape y_shape = c.conv.output_shape(c.x);
  ops::KeptWeights kept;
  for (std::uint64_t seed : {2, 3}) {
    w = random_tensor(c.conv.weight_shape(), seed);
    kept.clear();
    Tensor expected(y_shape);
    backend().forward(c.conv, {.x = x.view(), .w = w.view(), .bias = {}, .y = expected.view()});
    for (int call = 0; call < 2; ++call) {
      Tensor y(y_shape);
      backend().forward(c.conv, {.x = x.view(), .w = w.view(), .bias = {}, .y = y.view(), .kept = &kept});
      expect_near(y, to_array(expected), 0);
    }
    if (c.x[0] == 0) continue;
    Tensor first(c.conv.output_shape(one_image(c.x)));
    ConstTensorView image = x.view();
    image.shape = one_image(c.x);
    backend().forward(c.conv, {.x = image, .w = w.view(), .bias = {}, .y = first.view(), .kept = &kept});
    for (std::int64_t i = 0; i < first.shape.size(); ++i) ASSERT_EQ(first[i], expected[i]);
  }
}

TEST_P(Conv2d, BackwardIsTheOracle) {
  const Case& c = GetParam();
  expect_backward_is_the_oracle(c.conv, c.x, c.gap, c.bias, c.error);
}

INSTANTIATE_TEST_SUITE_P(All, Conv2d, ::testing::ValuesIn(kCases), name_of);

// Batch norms on both sides: statistics of the output, and an input normalised on read.
const Case kNormCases[] = {
    {"OnePixel", {1, 1, 1, 1}, conv(1, 1, 1, 1), false},
    {"Pointwise", {3, 7, 9, 33}, conv(33, 64, 1, 1)},
    {"PointwiseSlices", {2, 7, 5, 17}, conv(17, 100, 1, 1), false, 3},
    {"PointwiseStride2", {2, 9, 7, 16}, conv(16, 17, 1, 1, 2), false},
    {"PointwiseDeep", {2, 5, 5, 1100}, conv(1100, 33, 1, 1), false},
    {"PointwiseDeepWide", {1, 4, 3, 1056}, conv(1056, 528, 1, 1), false},
    {"PointwiseToMany", {2, 6, 5, 40}, conv(40, 1100, 1, 1), false, 5},
    {"PointwiseManyPixels", {5, 41, 40, 24}, conv(24, 40, 1, 1), false},
    {"Same3x3", {3, 13, 11, 17}, conv(17, 33, 3, 3, 1, 1, 1, 1, 1), false},
    {"Winograd4x4", {4, 21, 18, 37}, conv(37, 72, 3, 3, 1, 1, 1, 1, 1), false, 3},
    {"Winograd2x2", {2, 6, 7, 225}, conv(225, 230, 3, 3, 1, 1, 1, 1, 1), false},
    {"Same5x5Deep", {2, 9, 7, 64}, conv(64, 16, 5, 5, 1, 2, 2, 2, 2)},
    {"PaddingWiderThanImage", {2, 2, 3, 5}, conv(5, 16, 5, 5, 1, 4, 4, 4, 4), false},
    {"FewChannels7x7Stride2", {2, 29, 31, 3}, conv(3, 64, 7, 7, 2, 2, 3, 3, 3), false},
};

// Moves each beta until no normalised x of its channel lies so close to 0 that rounding could decide what ReLU does.
void keep_from_kinks(const Tensor& x, const Tensor& mean, const Tensor& variance, const ops::BatchNorm& norm,
                     const Tensor& gamma, Tensor& beta) {
  const auto near_kink = [&](std::int64_t c) {
    for (std::int64_t i = c; i < x.shape.size(); i += norm.channels)
      if (std::abs(gamma[c] * (x[i] - mean[c]) / std::sqrt(variance[c] + norm.epsilon) + beta[c]) < 1e-5F) return true;
    return false;
  };
  for (std::int64_t c = 0; c < norm.channels; ++c)
    while (near_kink(c)) beta[c] += 2.7e-5F;
}

class Conv2dAndBatchNorm : public ::testing::TestWithParam<Case> {};

TEST_P(Conv2dAndBatchNorm, StatisticsAreThoseOfTheOutput) {
  const Case& c = GetParam();
  const auto x = random_tensor(c.x, 1, -1, 1, c.x.back() + c.gap);
  auto w = random_tensor(c.conv.weight_shape(), 2);
  auto bias = random_tensor({c.conv.out_channels}, 3, 50, 100);  // means far larger than deviations
  const Shape y_shape = c.conv.output_shape(c.x), channels{c.conv.out_channels};
  Tensor y(y_shape, y_shape.back() + c.gap), plain = y, mean(channels), variance(channels);
  ops::Conv2d::Forward args{.x = x.view(), .w = w.view(), .bias = {}, .y = plain.view(), .of_x = {}};
  if (c.bias) args.bias = bias.view();
  backend().forward(c.conv, args);
  args.y = y.view(), args.mean = mean.view(), args.variance = variance.view();
  backend().forward(c.conv, args);
  expect_near(y, to_array(plain), 0);
  const oracle::Array none({c.conv.out_channels});
  const auto expected = oracle::batch_norm({.channels = c.conv.out_channels}, to_array(y), none, none);
  expect_near(mean, expected.mean, 2e-6, "mean");
  expect_near(variance, expected.variance, 2e-6, "variance");
}

TEST_P(Conv2dAndBatchNorm, NormalisingOnReadIsNormalisingFirst) {
  const Case& c = GetParam();
  if (!c.conv.normalises_input()) return;
  const std::int64_t channels = c.conv.in_channels;
  const auto x = random_tensor(c.x, 1, -1, 1, c.x.back() + c.gap), w = random_tensor(c.conv.weight_shape(), 2);
  const auto gamma = random_tensor({channels}, 5), beta = random_tensor({channels}, 6);
  const auto mean = random_tensor({channels}, 7), variance = random_tensor({channels}, 8, 0.1F, 2);
  const Shape y_shape = c.conv.output_shape(c.x);
  const std::int64_t y_pitch = y_shape.back() + c.gap;
  const auto dy = random_tensor(y_shape, 4, -1, 1, y_pitch);
  for (const auto activation : {ops::Activation::none, kRelu, kRelu6}) {
    Tensor normalised(c.x, x.pitch);
    backend().infer(ops::BatchNorm{.channels = channels, .activation = activation}, {.x = x.view(),
                                                                                     .gamma = gamma.view(),
                                                                                     .beta = beta.view(),
                                                                                     .mean = mean.view(),
                                                                                     .variance = variance.view(),
                                                                                     .y = normalised.view()});
    const ops::Normalisation of_x{.gamma = gamma.view(),
                                  .beta = beta.view(),
                                  .mean = mean.view(),
                                  .variance = variance.view(),
                                  .activation = activation};
    Tensor y(y_shape, y_pitch), expected_y = y, dx(c.x, x.pitch), expected_dx = dx;
    Tensor dw(w.shape), expected_dw = dw;
    backend().forward(c.conv, {.x = normalised.view(), .w = w.view(), .bias = {}, .y = expected_y.view(), .of_x = {}});
    backend().forward(c.conv, {.x = x.view(), .w = w.view(), .bias = {}, .y = y.view(), .of_x = of_x});
    expect_near(y, to_array(expected_y), 0, "y");
    auto lost = dy;
    backend().backward(c.conv, {.x = normalised.view(),
                                .w = w.view(),
                                .y = {},
                                .dy = lost.view(),
                                .dx = expected_dx.view(),
                                .dw = expected_dw.view(),
                                .dbias = {},
                                .of_x = {}});
    lost = dy;
    backend().backward(c.conv, {.x = x.view(),
                                .w = w.view(),
                                .y = {},
                                .dy = lost.view(),
                                .dx = dx.view(),
                                .dw = dw.view(),
                                .dbias = {},
                                .of_x = of_x});
    expect_near(dw, to_array(expected_dw), 0, "dw");
    expect_near(dx, to_array(expected_dx), 0, "dx");
  }
}

// Two convolutions read batch norms over one x: taken through both and centred once, dx is the sum of their gradients.
TEST_P(Conv2dAndBatchNorm, GradientsThroughNormsOverOneX) {
  const Case& c = GetParam();
  if (!c.conv.takes_gradient_through()) return;
  const Shape y_shape = c.conv.output_shape(c.x), of_channels{c.conv.in_channels};
  const auto x = random_tensor(c.x, 1, -1, 2, c.x.back() + c.gap), w = random_tensor(c.conv.weight_shape(), 2);
  const auto measured =
      oracle::batch_norm({.channels = c.x.back()}, to_array(x), oracle::Array(of_channels), oracle::Array(of_channels));
  const Tensor mean(measured.mean), variance(measured.variance);
  Tensor dx(c.x, x.pitch), offset(of_channels), slope(of_channels);
  oracle::Array expected(c.x);
  for (const auto activation : {ops::Activation::none, kRelu}) {
    const bool second = activation == kRelu;
    const ops::BatchNorm norm{.channels = c.x.back(), .activation = activation};
    const auto gamma = random_tensor(of_channels, 5, 0.5F, 1.5F);
    Tensor beta = random_tensor(of_channels, 6, -0.5F, 0.5F);
    if (second) keep_from_kinks(x, mean, variance, norm, gamma, beta);
    auto dy = random_tensor(y_shape, second ? 7 : 4, -1, 1, y_shape.back() + c.gap);
    const auto normalised = oracle::batch_norm(norm, to_array(x), to_array(gamma), to_array(beta)).y;
    const auto of_conv = oracle::backward(c.conv, normalised, to_array(w), to_array(dy), to_array(dy));
    const auto of_norm = oracle::batch_norm_backward(norm, to_array(x), to_array(gamma), to_array(beta), of_conv.dx);
    for (std::int64_t i = 0; i < c.x.size(); ++i) expected[i] += of_norm.dx[i];

    Tensor dgamma(of_channels), dbeta(of_channels);
    const Tensor stored(normalised, x.pitch);
    backward_through(c.conv, stored.view(), w.view(), dy.view(), dx.view(),
                     {.x = x.view(),
                      .by = {gamma.view(), beta.view(), mean.view(), variance.view(), norm.epsilon, activation},
                      .dgamma = dgamma.view(),
                      .dbeta = dbeta.view(),
                      .offset = offset.view(),
                      .slope = slope.view(),
                      .add = second,
                      .add_rest = second});
    expect_near(dgamma, of_norm.dgamma, 1e-5, "dgamma");
    expect_near(dbeta, of_norm.dbeta, 1e-5, "dbeta");
  }
  backend().centre(
      {.x = x.view(), .mean = mean.view(), .offset = offset.view(), .slope = slope.view(), .dx = dx.view()});
  if (c.x.size() / c.x.back() > 2) expect_near(dx, expected, 3e-5, "dx");  // dx of fewer pixels is nothing but rounding
}

// The last reader of x adds its share of the gradient to the others', masks it and sums it up for none to two batch
// norms.
TEST_P(Conv2dAndBatchNorm, FinishesASharedGradient) {
  const Case& c = GetParam();
  if (!c.conv.finishes_gradient()) return;
  const Shape y_shape = c.conv.output_shape(c.x), of_channels{c.conv.in_channels};
  const std::int64_t channels = c.conv.in_channels;
  const auto x = random_tensor(c.x, 1, -4, 9, c.x.back() + c.gap), w = random_tensor(c.conv.weight_shape(), 2);
  const auto dy = random_tensor(y_shape, 4, -1, 1, y_shape.back() + c.gap);
  const auto held = random_tensor(c.x, 9, -1, 1, x.pitch);
  const Tensor z[] = {random_tensor(c.x, 10, 4, 6, x.pitch), random_tensor(c.x, 11, -1, 1, x.pitch + c.gap)};
  const Tensor mean[] = {random_tensor(of_channels, 12, 4, 6), random_tensor(of_channels, 13)};
  const auto variance = random_tensor(of_channels, 14, 0.1F, 2);
  const auto own = oracle::backward(c.conv, to_array(x), to_array(w), to_array(dy), to_array(dy)).dx;
  for (const std::size_t norms : {0, 1, 2})
    for (const auto activation : {ops::Activation::none, kRelu, kRelu6})
      for (const bool add : {false, true}) {
        SCOPED_TRACE(fmt::format("{} norms, activation {}, add {}", norms, static_cast<int>(activation), add));
        Tensor dx = held, dgamma[] = {Tensor(of_channels), Tensor(of_channels)}, dbeta[] = {dgamma[0], dgamma[1]};
        ops::SharedGradient shared{.finishes = true, .add = add, .activation = activation};
        for (std::size_t i = 0; i < norms; ++i)
          shared.norms[i] = {.z = z[i].view(),
                             .mean = mean[i].view(),
                             .variance = variance.view(),
                             .epsilon = 1e-2F,
                             .dgamma = dgamma[i].view(),
                             .dbeta = dbeta[i].view()};
        auto lost = dy;
        backend().backward(c.conv, {.x = x.view(),
                                    .w = w.view(),
                                    .y = {},
                                    .dy = lost.view(),
                                    .dx = dx.view(),
                                    .dw = {},
                                    .dbias = {},
                                    .shared = shared});
        const oracle::Array at = to_array(x), others = to_array(held);
        oracle::Array expected(c.x);
        for (std::int64_t i = 0; i < c.x.size(); ++i) {
          const bool let_through =
              activation == ops::Activation::none || (at[i] > 0 && (activation == kRelu || at[i] < 6));
          if (let_through) expected[i] = own[i] + (add ? others[i] : 0);
        }
        expect_near(dx, expected, 1e-5, "dx");
        for (std::size_t i = 0; i < norms; ++i) {
          oracle::Array sums(of_channels), weighted(of_channels);
          const oracle::Array of_z = to_array(z[i]), means = to_array(mean[i]), variances = to_array(variance);
          for (std::int64_t j = 0; j < c.x.size(); ++j) {
            const std::int64_t k = j % channels;
            sums[k] += expected[j];
            weighted[k] += expected[j] * (of_z[j] - means[k]) / std::sqrt(variances[k] + 1e-2);
          }
          expect_near(dbeta[i], sums, 1e-5, "dbeta");
          expect_near(dgamma[i], weighted, 1e-5, "dgamma");
        }
      }
}

INSTANTIATE_TEST_SUITE_P(All, Conv2dAndBatchNorm, ::testing::ValuesIn(kNormCases), name_of);

TEST(OracleConv2d, GroupsMeetOnlyTheirOwnChannels) {
  // One pixel, 4 channels to 4 in 2 groups: w[c, k] = 10 c + k, c counted within the group.
  const auto c = grouped(2, conv(4, 4, 1, 1));
  EXPECT_EQ(to_string(c.weight_shape()), to_string(Shape{1, 1, 2, 4}));
  oracle::Array x({1, 1, 1, 4}), w(c.weight_shape());
  x.values = {1, 2, 3, 4};
  w.values = {0, 1, 2, 3, 10, 11, 12, 13};
  EXPECT_EQ(oracle::forward(c, x, w, {}).values, (std::vector<double>{20, 23, 54, 61}));
  EXPECT_EQ(c.flops(x.shape), 2 * 2 * 4);
  EXPECT_THROW(static_cast<void>(grouped(3, c).output_shape(x.shape)), OptionError);
}

TEST(Conv2d, WritesOnlyTheGradientsAskedFor) {
  const auto c = conv(3, 5, 3, 3, 1, 1, 1, 1, 1);
  const auto x = random_tensor({2, 6, 5, 3}, 1), w = random_tensor(c.weight_shape(), 2);
  auto dy = random_tensor({2, 6, 5, 5}, 4);
  const auto expected = oracle::backward(c, to_array(x), to_array(w), to_array(dy), to_array(dy));
  Tensor dx(x.shape), dw(w.shape);
  backend().backward(c,
                     {.x = x.view(), .w = w.view(), .y = {}, .dy = dy.view(), .dx = {}, .dw = dw.view(), .dbias = {}});
  backend().backward(c,
                     {.x = x.view(), .w = w.view(), .y = {}, .dy = dy.view(), .dx = dx.view(), .dw = {}, .dbias = {}});
  expect_near(dw, expected.dw, 2e-6, "dw");
  expect_near(dx, expected.dx, 2e-6, "dx");
}

TEST(Conv2d, OutputLargerThanTheCaches) {
  const auto c = conv(1, 32, 1, 1);
  const auto x = random_tensor({1, 449, 449, 1}, 1), w = random_tensor(c.weight_shape(), 2);
  const auto bias = random_tensor({32}, 3);
  const Buffer memory(host_memory(), c.output_shape(x.shape).size() * sizeof(float));  // aligned, as an arena is
  backend().forward(c,
                    {.x = x.view(), .w = w.view(), .bias = bias.view(), .y = {memory.data(), c.output_shape(x.shape)}});
  Tensor y(c.output_shape(x.shape));
  std::copy_n(memory.as<float>(), y.values.size(), y.values.begin());
  expect_near(y, oracle::forward(c, to_array(x), to_array(w), to_array(bias)), 2e-6);
}

TEST(Conv2d, ReluLetsNanThrough) {
  const auto c = conv(1, 1, 1, 1, 1, 0, 0, 0, 0, kRelu);
  Tensor x({1, 1, 3, 1}), w({1, 1, 1, 1}), y(x.shape);
  x[0] = -1, x[1] = std::numeric_limits<float>::quiet_NaN(), x[2] = 2, w[0] = 1;
  backend().forward(c, {.x = x.view(), .w = w.view(), .bias = {}, .y = y.view()});
  EXPECT_EQ(y[0], 0);
  EXPECT_TRUE(std::isnan(y[1]));
  EXPECT_EQ(y[2], 2);
}

}  // namespace
}  // namespace brigade::tests
