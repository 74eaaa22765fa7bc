// Depthwise convolution: the oracle's backward against its forward (numerical Jacobian), then the backend against the
// oracle.
#include "oracle/depthwise_conv2d.hpp"

#include <algorithm>
#include <limits>
#include <ostream>
#include <string>

#include "brigade/core/memory.hpp"
#include "ops/support.hpp"
#include "ops/weighted_layer.hpp"
#include "oracle/batch_norm.hpp"

namespace brigade::tests {
namespace {

struct Case {
  std::string name;
  Shape x;
  ops::DepthwiseConv2d conv;
  bool bias = true;
  std::int64_t gap = 0;  // channels between the pixels of x, y and their gradients: slices of wider tensors
  double error = 2e-6;   // relative to the largest element
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
const auto name_of = [](const auto& info) { return info.param.name; };

constexpr auto kRelu = ops::Activation::relu, kRelu6 = ops::Activation::relu6;

ops::DepthwiseConv2d conv(std::int64_t channels, int kh, int kw, int stride = 1, int top = 0, int left = 0,
                          int bottom = 0, int right = 0, ops::Activation activation = ops::Activation::none) {
  return {channels, kh, kw, stride, stride, top, left, bottom, right, activation};
}

ops::DepthwiseConv2d with_strides(ops::DepthwiseConv2d conv, int vertical, int horizontal) {
  conv.stride_h = vertical;
  conv.stride_w = horizontal;
  return conv;
}

// Extents that divide by nothing a kernel could block by, and all widths beside its blocks.
const Case kCases[] = {
    {"OnePixel", {1, 1, 1, 1}, conv(1, 1, 1)},
    {"OnePixelSame3x3", {2, 1, 1, 19}, conv(19, 3, 3, 1, 1, 1, 1, 1)},
    {"Pointwise", {3, 7, 9, 33}, conv(33, 1, 1, 1, 0, 0, 0, 0, kRelu)},
    {"Same3x3", {3, 13, 11, 17}, conv(17, 3, 3, 1, 1, 1, 1, 1, kRelu)},
    {"Same3x3Relu6", {3, 12, 15, 64}, conv(64, 3, 3, 1, 1, 1, 1, 1, kRelu6), true, 0},
    {"Same3x3Slices", {3, 5, 6, 5}, conv(5, 3, 3, 1, 1, 1, 1, 1, kRelu), true, 11},
    {"Same3x3Width7", {5, 7, 7, 96}, conv(96, 3, 3, 1, 1, 1, 1, 1), false},
    {"Same3x3Width14", {2, 14, 14, 37}, conv(37, 3, 3, 1, 1, 1, 1, 1), false},
    {"Same3x3Width21Slices", {2, 6, 21, 18}, conv(18, 3, 3, 1, 1, 1, 1, 1, kRelu), true, 5},
    {"OneRowWidth7", {3, 1, 7, 33}, conv(33, 3, 3, 1, 1, 1, 1, 1, kRelu6)},
    {"Valid3x3Width14", {2, 5, 16, 20}, conv(20, 3, 3), true},
    {"PaddedBelowWidth7", {2, 8, 7, 16}, conv(16, 3, 3, 1, 0, 1, 2, 1)},
    {"Same3x3Strips", {1, 56, 28, 48}, conv(48, 3, 3, 1, 1, 1, 1, 1)},
    {"Valid3x3", {2, 18, 17, 32}, conv(32, 3, 3), false},
    {"Stride2", {2, 15, 17, 24}, conv(24, 3, 3, 2, 1, 1, 1, 1, kRelu6)},
    {"Stride2Even", {2, 14, 16, 40}, conv(40, 3, 3, 2, 1, 1, 1, 1), false},
    {"Stride2Width7", {2, 13, 14, 37}, conv(37, 3, 3, 2, 0, 0, 1, 1, kRelu6)},
    {"Stride2Width14Slices", {1, 9, 27, 16}, conv(16, 3, 3, 2, 1, 1, 1, 1, kRelu), true, 3},
    {"Stride2OneRowWidth7", {2, 1, 14, 16}, conv(16, 3, 3, 2, 1, 0, 1, 1), false},
    {"Stride2AsymmetricPadding", {3, 14, 13, 16}, conv(16, 3, 3, 2, 0, 0, 1, 1)},
    {"Stride2Slices", {2, 9, 10, 19}, conv(19, 3, 3, 2, 0, 1, 1, 0, kRelu), false, 2},
    {"Stride2ShortImage", {2, 2, 2, 21}, conv(21, 3, 3, 2, 1, 1, 1, 1)},
    {"Stride3Kernel2x2", {2, 11, 10, 18}, conv(18, 2, 2, 3, 0, 1, 1, 0)},
    {"Stride1Times2", {2, 9, 10, 17}, with_strides(conv(17, 3, 3, 1, 1, 1, 1, 1), 1, 2)},
    {"Stride2Times1", {2, 9, 10, 17}, with_strides(conv(17, 3, 3, 1, 1, 1, 1, 1), 2, 1)},
    {"Same5x5", {2, 14, 13, 20}, conv(20, 5, 5, 1, 2, 2, 2, 2, kRelu)},
    {"Stride2Same5x5", {2, 14, 13, 20}, conv(20, 5, 5, 2, 1, 2, 2, 2)},
    {"Kernel1x7", {2, 9, 10, 16}, conv(16, 1, 7, 1, 0, 3, 0, 3)},
    {"Kernel4x1", {2, 9, 10, 17}, conv(17, 4, 1, 1, 2, 0, 1, 0)},
    {"PaddingWiderThanImage", {2, 2, 3, 5}, conv(5, 5, 5, 1, 4, 4, 4, 4)},
    {"ManyRows", {13, 33, 30, 8}, conv(8, 3, 3, 1, 1, 1, 1, 1), true, 0, 5e-6},
    {"ManyChannels", {1, 6, 5, 1030}, conv(1030, 3, 3, 1, 1, 1, 1, 1)},
    {"EmptyBatch", {0, 5, 5, 3}, conv(3, 3, 3)},
};

oracle::Array bias_of(const Case& c) { return c.bias ? random_array({c.conv.channels}, 3) : oracle::Array(); }
// Reaches beyond 6, where that is to be cut.
float reach(const Case& c) { return c.conv.activation == kRelu6 ? 6 : 1; }

class OracleDepthwiseConv2d : public ::testing::TestWithParam<Case> {};

TEST_P(OracleDepthwiseConv2d, BackwardIsTheJacobian) {
  const Case& c = GetParam();
  const auto x = random_array(c.x, 1, -reach(c), reach(c)), w = random_array(c.conv.weight_shape(), 2);
  const auto bias = bias_of(c), y = oracle::forward(c.conv, x, w, bias), dy = random_array(y.shape, 4);
  const auto g = oracle::backward(c.conv, x, w, y, dy);
  constexpr double kError = 1e-7;
  expect_gradient([&](const auto& v) { return oracle::forward(c.conv, v, w, bias); }, x, dy, g.dx, kError);
  expect_gradient([&](const auto& v) { return oracle::forward(c.conv, x, v, bias); }, w, dy, g.dw, kError);
  expect_gradient([&](const auto& v) { return oracle::forward(c.conv, x, w, v); }, bias, dy, g.dbias, kError);
}

INSTANTIATE_TEST_SUITE_P(All, OracleDepthwiseConv2d,
                         ::testing::Values(Case{"Same3x3", {2, 5, 4, 3}, conv(3, 3, 3, 1, 1, 1, 1, 1)},
                                           Case{"Relu6", {2, 4, 4, 5}, conv(5, 2, 3, 1, 0, 1, 1, 1, kRelu6)},
                                           Case{"Stride2", {1, 6, 5, 3}, conv(3, 3, 2, 2, 1, 0, 0, 2, kRelu)}),
                         name_of);

class DepthwiseConv2d : public ::testing::TestWithParam<Case> {};

TEST_P(DepthwiseConv2d, ForwardIsTheOracle) {
  const Case& c = GetParam();
  const auto x = random_tensor(c.x, 1, -reach(c), reach(c), c.x.back() + c.gap);
  const auto w = random_tensor(c.conv.weight_shape(), 2);
  const Tensor bias = c.bias ? Tensor(bias_of(c)) : Tensor();
  const Shape y_shape = c.conv.output_shape(c.x);
  Tensor y(y_shape, y_shape.back() + c.gap);
  backend().forward(c.conv,
                    {.x = x.view(), .w = w.view(), .bias = c.bias ? bias.view() : ConstTensorView(), .y = y.view()});
  expect_near(y, oracle::forward(c.conv, to_array(x), to_array(w), c.bias ? to_array(bias) : oracle::Array()), c.error);
}

TEST_P(DepthwiseConv2d, BackwardIsTheOracle) {
  const Case& c = GetParam();
  expect_backward_is_the_oracle(c.conv, c.x, c.gap, c.bias, c.error);
}

INSTANTIATE_TEST_SUITE_P(All, DepthwiseConv2d, ::testing::ValuesIn(kCases), name_of);

TEST(DepthwiseConv2d, WritesOnlyTheGradientsAskedFor) {
  const auto c = conv(5, 3, 3, 1, 1, 1, 1, 1);
  const auto x = random_tensor({2, 6, 5, 5}, 1), w = random_tensor(c.weight_shape(), 2);
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

// A batch norm before the convolution and one after it.
struct Neighbours {
  Tensor gamma, beta, mean, variance;
  ops::Normalisation of_x;
  ops::BatchNorm norm;

  Neighbours(std::int64_t channels, ops::Activation activation)
      : gamma(random_tensor({channels}, 11, -3, 3)),
        beta(random_tensor({channels}, 12)),
        mean(random_tensor({channels}, 13)),
        variance(random_tensor({channels}, 14, 0.2, 2)),
        of_x{gamma.view(), beta.view(), mean.view(), variance.view(), 1e-3F, activation},
        norm{.channels = channels, .epsilon = 1e-3F, .activation = activation} {}
  Tensor normalised(const Tensor& x) const {
    Tensor y(x.shape, x.pitch);
    backend().infer(norm, {x.view(), gamma.view(), beta.view(), mean.view(), variance.view(), y.view()});
    return y;
  }
};

// Reading through a normalisation is, to the bit, normalising first; and the statistics are those of what is written.
TEST_P(DepthwiseConv2d, NormalisesWhatItReadsAndMeasuresWhatItWrites) {
  Case c = GetParam();
  if (c.x[0] == 0) return;  // has no statistics
  c.conv.activation = ops::Activation::none;
  const std::int64_t pitch = c.x.back() + c.gap;
  const auto x = random_tensor(c.x, 1, -2, 3, pitch), w = random_tensor(c.conv.weight_shape(), 2);
  const Tensor bias = c.bias ? Tensor(bias_of(c)) : Tensor();
  const Shape y_shape = c.conv.output_shape(c.x), channels{c.conv.channels};
  for (const auto activation : {ops::Activation::none, kRelu6}) {
    const Neighbours by(c.conv.channels, activation);
    const Tensor x2 = by.normalised(x);
    Tensor y(y_shape, y_shape.back() + c.gap), y2 = y, mean(channels), variance(channels);
    ops::DepthwiseConv2d::Forward pass{
        .x = x2.view(), .w = w.view(), .bias = c.bias ? bias.view() : ConstTensorView(), .y = y2.view()};
    backend().forward(c.conv, pass);
    pass.x = x.view(), pass.y = y.view(), pass.of_x = by.of_x;
    pass.mean = mean.view(), pass.variance = variance.view();
    backend().forward(c.conv, pass);
    expect_near(y, to_array(y2), 0, "y");
    const auto expected = oracle::batch_norm({.channels = c.conv.channels}, to_array(y), oracle::Array(channels, 1),
                                             oracle::Array(channels));
    expect_near(mean, expected.mean, 1e-5, "mean");
    expect_near(variance, expected.variance, 1e-5, "variance");
  }
}

TEST_P(DepthwiseConv2d, GradientsThroughTheNormalisationOfX) {
  Case c = GetParam();
  c.conv.activation = ops::Activation::none;
  const std::int64_t pitch = c.x.back() + c.gap;
  const auto x = random_tensor(c.x, 1, -2, 3, pitch), w = random_tensor(c.conv.weight_shape(), 2);
  auto dy = random_tensor(c.conv.output_shape(c.x), 4, -1, 1, pitch);
  const Shape channels{c.conv.channels};
  for (const auto activation : {ops::Activation::none, kRelu6}) {
    const Neighbours by(c.conv.channels, activation);
    const Tensor x2 = by.normalised(x);
    Tensor dx(c.x, pitch), dx2 = dx, dw(c.conv.weight_shape()), dw2 = dw;
    Tensor dgamma(channels), dbeta(channels), dgamma2(channels), dbeta2(channels);
    ops::DepthwiseConv2d::Backward pass{
        .x = x2.view(), .w = w.view(), .y = {}, .dy = dy.view(), .dx = dx2.view(), .dw = dw2.view(), .dbias = {}};
    backend().backward(c.conv, pass);
    pass.x = x.view(), pass.dx = dx.view(), pass.dw = dw.view(), pass.of_x = by.of_x;
    pass.dgamma = dgamma.view(), pass.dbeta = dbeta.view();
    backend().backward(c.conv, pass);
    expect_near(dx, to_array(dx2), 0, "dx");
    expect_near(dw, to_array(dw2), 0, "dw");
    // What batch norm sums itself, in another order; and its dx from the sums of either.
    ops::BatchNorm::Backward norm{x.view(),  by.gamma.view(), by.beta.view(), by.mean.view(), by.variance.view(),
                                  dx.view(), dx2.view(),      dgamma2.view(), dbeta2.view()};
    backend().backward(by.norm, norm);
    expect_near(dgamma, to_array(dgamma2), 1e-5, "dgamma");
    expect_near(dbeta, to_array(dbeta2), 1e-5, "dbeta");
    const auto expected = to_array(dx2);
    norm.dgamma = dgamma.view(), norm.dbeta = dbeta.view(), norm.sums = ops::BatchNorm::Sums::given;
    backend().backward(by.norm, norm);
    expect_near(dx2, expected, 1e-5, "dx of the batch norm");
  }
}

// Both are stored past the caches.
TEST(DepthwiseConv2d, OutputsLargerThanTheCaches) {
  const auto c = conv(32, 3, 1, 1, 1, 0, 1, 0);
  const Shape shape{1, 451, 449, 32};
  const auto x = random_tensor(shape, 1), w = random_tensor(c.weight_shape(), 2);
  auto dy = random_tensor(shape, 4);
  const Buffer memory(host_memory(), shape.size() * sizeof(float));  // aligned, as an arena is
  Tensor result(shape);
  backend().forward(c, {.x = x.view(), .w = w.view(), .bias = {}, .y = {memory.data(), shape}});
  std::copy_n(memory.as<float>(), result.values.size(), result.values.begin());
  expect_near(result, oracle::forward(c, to_array(x), to_array(w), {}), 2e-6, "y");
  const auto expected = oracle::backward(c, to_array(x), to_array(w), to_array(dy), to_array(dy));
  backend().backward(
      c, {.x = x.view(), .w = w.view(), .y = {}, .dy = dy.view(), .dx = {memory.data(), shape}, .dw = {}, .dbias = {}});
  std::copy_n(memory.as<float>(), result.values.size(), result.values.begin());
  expect_near(result, expected.dx, 2e-6, "dx");
  // The same by way of statistics and of gradients' sums.
  const Neighbours by(32, kRelu);
  const Tensor x2 = by.normalised(x);
  Tensor y2(shape), dx2 = result, mean({32}), variance({32}), mean2({32}), variance2({32});
  backend().forward(c, {.x = x2.view(), .w = w.view(), .bias = {}, .y = y2.view()});
  backend().forward(ops::BatchNorm{.channels = 32}, {y2.view(), {}, {}, {}, mean2.view(), variance2.view()});
  backend().forward(c, {.x = x.view(),
                        .w = w.view(),
                        .bias = {},
                        .y = {memory.data(), shape},
                        .of_x = by.of_x,
                        .mean = mean.view(),
                        .variance = variance.view()});
  std::copy_n(memory.as<float>(), result.values.size(), result.values.begin());
  expect_near(result, to_array(y2), 0, "y");
  expect_near(mean, to_array(mean2), 1e-5, "mean");
  expect_near(variance, to_array(variance2), 1e-5, "variance");
  backend().backward(c, {.x = x.view(),
                         .w = w.view(),
                         .y = {},
                         .dy = dy.view(),
                         .dx = {memory.data(), shape},
                         .dw = {},
                         .dbias = {},
                         .of_x = by.of_x,
                         .dgamma = mean.view(),
                         .dbeta = variance.view()});
  std::copy_n(memory.as<float>(), result.values.size(), result.values.begin());
  expect_near(result, to_array(dx2), 0, "dx with sums");
}

TEST(DepthwiseConv2d, NanReachesItsNeighboursOnly) {
  const auto c = conv(3, 3, 3, 1, 1, 1, 1, 1, kRelu6);
  Tensor x = random_tensor({1, 6, 7, 3}, 1), y(x.shape);
  const auto w = random_tensor(c.weight_shape(), 2);
  x[(2 * 7 + 3) * 3 + 1] = std::numeric_limits<float>::quiet_NaN();  // pixel (2, 3), channel 1
  backend().forward(c, {.x = x.view(), .w = w.view(), .bias = {}, .y = y.view()});
  expect_near(y, oracle::forward(c, to_array(x), to_array(w), {}), 2e-6);
}

TEST(DepthwiseConv2d, SamePaddingIsThatOfKeras) {
  const auto c = with_same_padding(conv(4, 3, 3, 2), 112, 113);
  EXPECT_EQ(c.pad_top, 0);
  EXPECT_EQ(c.pad_bottom, 1);
  EXPECT_EQ(c.pad_left, 1);
  EXPECT_EQ(c.pad_right, 1);
  EXPECT_EQ(c.output_shape({1, 112, 113, 4}), (Shape{1, 56, 57, 4}));
  EXPECT_EQ(c.flops({1, 112, 113, 4}), 2.0 * 56 * 57 * 4 * 9);
}

}  // namespace
}  // namespace brigade::tests
