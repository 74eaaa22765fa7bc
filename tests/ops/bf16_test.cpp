// Operations on bf16: the backend against the oracle, both given numbers that bf16 can hold. What is stored as bf16 is
// off by half a unit in the last of its 8 bits; sums are kept in float, and are off by what the numbers in them are.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "ops/half.hpp"
#include "ops/support.hpp"
#include "ops/weighted_layer.hpp"
#include "oracle/add.hpp"
#include "oracle/batch_norm.hpp"
#include "oracle/concat.hpp"
#include "oracle/conv2d.hpp"
#include "oracle/dense.hpp"
#include "oracle/depthwise_conv2d.hpp"
#include "oracle/dropout.hpp"
#include "oracle/global_average_pool.hpp"
#include "oracle/local_response_norm.hpp"
#include "oracle/pool.hpp"
#include "oracle/relu.hpp"

namespace brigade::tests {
namespace {

constexpr double kStored = 0x1p-8;  // of the largest element
constexpr double kExact = 0;        // a choice among numbers
constexpr double kInFloat = 2e-6;   // float results of numbers that are exact

struct Case {
  Shape shape;
  std::int64_t pitch = 0;
};
const Case kCases[] = {{{1, 1, 1, 1}}, {{3, 5, 7, 13}}, {{2, 9, 5, 33}, 40}, {{2, 31, 29, 17}, 19}, {{5, 30, 30, 16}}};

TEST(Bf16, Relu) {
  for (const auto& [shape, pitch] : kCases)
    for (const auto& op : {ops::Relu{}, ops::Relu{.max = 6}}) {
      const Half x = random_half(shape, 1, -10, 10, pitch), dy = random_half(shape, 2, -1, 1, pitch);
      Half y(shape, pitch), dx(shape);
      backend().forward(op, {x.view(), y.view()});
      expect_near(y.wide(), oracle::relu(op, x.array()), kExact, "y");
      backend().backward(op, {y.view(), dy.view(), dx.view()});
      expect_near(dx.wide(), oracle::relu_backward(op, y.array(), dy.array()), kExact, "dx");
    }
}

TEST(Bf16, NanAndInfinityStay) {
  Tensor x({1, 40});
  for (float& value : x.values) value = -1;
  x[3] = x[37] = std::numeric_limits<float>::quiet_NaN();
  x[4] = x[38] = std::numeric_limits<float>::infinity();
  Half y(x.shape);
  backend().forward(ops::Relu{}, {Half(x).view(), y.view()});
  expect_near(y.wide(), oracle::relu(ops::Relu{}, to_array(x)), kExact);
}

TEST(Bf16, Add) {
  for (const auto& [shape, pitch] : kCases)
    for (const auto activation : {ops::Activation::none, ops::Activation::relu, ops::Activation::relu6}) {
      const ops::Add op{.scale = 0.5F, .activation = activation};
      const Half a = random_half(shape, 1, -5, 5, pitch), b = random_half(shape, 2, -9, 9, pitch);
      const Half dy = random_half(shape, 3, -1, 1, pitch);
      Half y(shape, pitch), da(shape, pitch), db(shape);
      backend().forward(op, {.a = a.view(), .b = b.view(), .y = y.view(), .of_a = {}, .of_b = {}});
      expect_near(y.wide(), oracle::add(op, a.array(), b.array()), kStored, "y");
      backend().backward(op, {.y = y.view(), .dy = dy.view(), .da = da.view(), .db = db.view()});
      const auto expected = oracle::add_backward(op, y.array(), dy.array());
      expect_near(da.wide(), expected.da, kExact, "da");
      expect_near(db.wide(), expected.db, kExact, "db");
    }
}

TEST(Bf16, LocalResponseNorm) {
  for (const auto& [shape, pitch] : kCases) {
    const ops::LocalResponseNorm op{.bias = 1, .alpha = 0.1F};
    const Half x = random_half(shape, 1, -5, 5, pitch), dy = random_half(shape, 2, -1, 1, pitch);
    Half y(shape, pitch), dx(shape);
    backend().forward(op, {.x = x.view(), .y = y.view()});
    expect_near(y.wide(), oracle::forward(op, x.array()), kStored, "y");
    backend().backward(op, {.x = x.view(), .dy = dy.view(), .dx = dx.view()});
    expect_near(dx.wide(), oracle::backward(op, x.array(), dy.array()), kStored, "dx");
  }
}

TEST(Bf16, Concat) {
  const Half a = random_half({2, 3, 5, 7}, 1, -1, 1, 0), b = random_half({2, 3, 5, 20}, 2, -1, 1, 23);
  Half y({2, 3, 5, 27}, 31), da({2, 3, 5, 7}, 9), db({2, 3, 5, 20});
  const std::vector<ConstTensorView> parts{a.view(), b.view()};
  backend().forward(ops::Concat{}, {.x = parts, .y = y.view()});
  expect_near(y.wide(), oracle::concat(std::vector{a.array(), b.array()}), kExact, "y");
  const std::vector<TensorView> gradients{da.view(), db.view()};
  backend().backward(ops::Concat{}, {.dy = y.view(), .dx = gradients});
  expect_near(da.wide(), a.array(), kExact, "da");
  expect_near(db.wide(), b.array(), kExact, "db");
}

TEST(Bf16, Pools) {
  for (const ops::PoolWindow& window :
       {ops::PoolWindow{2, 2, 2, 2, 0, 0, 0, 0}, ops::PoolWindow{3, 3, 2, 2, 1, 1, 1, 1}}) {
    const ops::MaxPool max{window};
    const ops::AveragePool average{window};
    const Half x = random_half({2, 9, 11, 21}, 1, -1, 1, 24);
    const Half dy = random_half(window.output_shape({2, 9, 11, 21}), 2, -1, 1, 0);
    Half y(dy.array().shape, 25), dx({2, 9, 11, 21}, 22);
    std::vector<std::uint8_t> winner(static_cast<std::size_t>(dy.array().size()));
    const TensorView winners{winner.data(), dy.array().shape, DType::u8};
    backend().forward(max, {x.view(), y.view(), winners});
    expect_near(y.wide(), oracle::max_pool(max, x.array()), kExact, "y of max");
    backend().backward(max, {winners, dy.view(), dx.view()});
    expect_near(dx.wide(), oracle::max_pool_backward(max, x.array(), dy.array()), kStored, "dx of max");
    backend().forward(average, {x.view(), y.view()});
    expect_near(y.wide(), oracle::average_pool(average, x.array()), kStored, "y of average");
    backend().backward(average, {dy.view(), dx.view()});
    expect_near(dx.wide(), oracle::average_pool_backward(average, x.array().shape, dy.array()), kStored,
                "dx of average");
  }
}

TEST(Bf16, GlobalAveragePool) {
  for (const auto& [shape, pitch] : kCases) {
    const Half x = random_half(shape, 1, -1, 1, pitch), dy = random_half({shape[0], shape[3]}, 2, -1, 1, 0);
    Half y({shape[0], shape[3]}), dx(shape, pitch);
    backend().forward(ops::GlobalAveragePool{}, {x.view(), y.view()});
    expect_near(y.wide(), oracle::global_average_pool(x.array()), kStored, "y");
    backend().backward(ops::GlobalAveragePool{}, {dy.view(), dx.view()});
    expect_near(dx.wide(), oracle::global_average_pool_backward(shape, dy.array()), kStored, "dx");
  }
}

TEST(Bf16, Dropout) {
  const ops::Dropout op{.rate = 0.3F};
  const ops::Dropout::Mask mask{.key = {.seed = 7, .purpose = Purpose::dropout}, .first_sample = 5};
  for (const auto& [shape, pitch] : kCases) {
    const Half x = random_half(shape, 1, -1, 1, pitch);
    Half y(shape, pitch);
    backend().apply(op, {x.view(), y.view(), mask});
    expect_near(y.wide(), oracle::dropout(op, x.array(), mask), kStored);
  }
}

TEST(Bf16, BatchNorm) {
  for (const auto& [shape, pitch] : kCases) {
    if (shape.size() == 1) continue;
    for (const auto activation : {ops::Activation::none, ops::Activation::relu}) {
      const ops::BatchNorm op{.channels = shape.back(), .activation = activation};
      const Half x = random_half(shape, 1, 1, 9, pitch), dy = random_half(shape, 2, -1, 1, pitch);
      const Tensor gamma = random_tensor({op.channels}, 3), beta = random_tensor({op.channels}, 4);
      Half y(shape, pitch), dx(shape, pitch);
      Tensor mean({op.channels}), variance({op.channels}), dgamma({op.channels}), dbeta({op.channels});
      backend().forward(op, {.x = x.view(),
                             .gamma = gamma.view(),
                             .beta = beta.view(),
                             .y = y.view(),
                             .mean = mean.view(),
                             .variance = variance.view()});
      const auto expected = oracle::batch_norm(op, x.array(), to_array(gamma), to_array(beta));
      expect_near(y.wide(), expected.y, kStored, "y");
      expect_near(mean, expected.mean, kInFloat, "mean");
      expect_near(variance, expected.variance, kInFloat, "variance");
      backend().backward(op, {.x = x.view(),
                              .gamma = gamma.view(),
                              .beta = beta.view(),
                              .mean = mean.view(),
                              .variance = variance.view(),
                              .dy = dy.view(),
                              .dx = dx.view(),
                              .dgamma = dgamma.view(),
                              .dbeta = dbeta.view()});
      const auto gradients = oracle::batch_norm_backward(op, x.array(), to_array(gamma), to_array(beta), dy.array());
      expect_near(dx.wide(), gradients.dx, kStored, "dx");
      expect_near(dgamma, gradients.dgamma, 1e-5, "dgamma");
      expect_near(dbeta, gradients.dbeta, 1e-5, "dbeta");
    }
  }
}

constexpr double kByWinograd = 1e-5;  // dw, as in float

struct ConvCase {
  std::string name;
  Shape x;
  ops::Conv2d conv;
  std::int64_t gap = 0;
  double dw_error = kInFloat;
};
ops::Conv2d conv(std::int64_t in, std::int64_t out, int kernel, int stride, int pad,
                 ops::Activation activation = ops::Activation::none) {
  return {in, out, kernel, kernel, stride, stride, pad, pad, pad, pad, activation};
}
ops::Conv2d grouped(std::int64_t groups, ops::Conv2d conv) {
  conv.groups = groups;
  return conv;
}

const ConvCase kConvCases[] = {
    {"OnePixel", {1, 1, 1, 1}, conv(1, 1, 1, 1, 0)},
    {"Pointwise", {3, 7, 9, 34}, conv(34, 64, 1, 1, 0, ops::Activation::relu)},
    {"PointwiseOddChannels", {3, 7, 9, 33}, conv(33, 17, 1, 1, 0)},
    {"PointwiseEvenSlices", {2, 7, 5, 18}, conv(18, 100, 1, 1, 0, ops::Activation::relu), 2},
    {"PointwiseOddSlices", {2, 7, 5, 18}, conv(18, 33, 1, 1, 0), 3},
    {"PointwiseStride2", {2, 9, 7, 16}, conv(16, 48, 1, 2, 0)},
    {"PointwiseDeep", {2, 3, 3, 2200}, conv(2200, 34, 1, 1, 0)},
    {"Same3x3", {3, 13, 11, 18}, conv(18, 33, 3, 1, 1, ops::Activation::relu6)},
    {"Same3x3Deep", {2, 6, 5, 512}, conv(512, 30, 3, 1, 1)},
    {"Stride2", {3, 14, 13, 20}, conv(20, 130, 3, 2, 1)},
    {"Stride3", {3, 17, 16, 5}, conv(5, 17, 3, 3, 2)},
    {"PaddingWiderThanImage", {2, 2, 3, 5}, conv(5, 16, 5, 1, 4)},
    {"FewChannels5x5", {9, 28, 28, 1}, conv(1, 32, 5, 1, 2, ops::Activation::relu)},
    {"FewChannels7x7Stride2", {2, 29, 31, 3}, conv(3, 64, 7, 2, 3)},
    {"FewChannelsSlices", {2, 9, 8, 2}, conv(2, 5, 3, 1, 1), 2},
    {"FewChannelsUnpadded", {2, 11, 13, 3}, conv(3, 20, 3, 2, 0)},  // the last kernel ends where x does
    {"FewChannelsInPlace", {2, 8, 10, 3}, conv(3, 16, 2, 2, 0)},
    {"FewChannelsOddRows", {2, 9, 9, 1}, conv(1, 17, 2, 2, 0)},
    {"ManyPixels", {5, 30, 29, 8}, conv(8, 6, 3, 1, 1)},
    {"EvenGroups", {2, 9, 8, 24}, grouped(2, conv(24, 40, 3, 1, 1, ops::Activation::relu)), 2},
    {"OddGroups", {2, 7, 6, 15}, grouped(3, conv(15, 9, 3, 1, 1))},
    {"Winograd", {2, 20, 23, 40}, conv(40, 72, 3, 1, 1, ops::Activation::relu), 0, kByWinograd},
    {"WinogradOddSlices", {3, 24, 19, 33}, conv(33, 47, 3, 1, 1), 3, kByWinograd},
    {"WinogradNoPadding", {2, 26, 18, 130}, conv(130, 34, 3, 1, 0, ops::Activation::relu6), 2, kByWinograd},
    {"EmptyBatch", {0, 5, 5, 3}, conv(3, 4, 3, 1, 1)},
};
std::ostream& operator<<(std::ostream& out, const ConvCase& c) { return out << c.name; }

constexpr double kStoredSum = 0x1.01p-8;  // and the rounding of a float sum

class Bf16Conv2d : public ::testing::TestWithParam<ConvCase> {};

TEST_P(Bf16Conv2d, IsTheOracle) {
  const ConvCase& c = GetParam();
  const Shape y_shape = c.conv.output_shape(c.x);
  const std::int64_t x_pitch = c.x.back() + c.gap, y_pitch = y_shape.back() + c.gap;
  const Half x = random_half(c.x, 1, -1, 1, x_pitch), w = random_half(c.conv.weight_shape(), 2, -1, 1, 0);
  const Tensor weights = w.wide(), bias = random_tensor({c.conv.out_channels}, 3);
  Half y(y_shape, y_pitch);
  backend().forward(
      c.conv,
      {.x = x.view(), .w = weights.view(), .bias = bias.view(), .y = y.view(), .of_x = {}, .mean = {}, .variance = {}});
  expect_near(y.wide(), oracle::forward(c.conv, x.array(), w.array(), to_array(bias)), kStoredSum, "y");

  Half dy = random_half(y_shape, 4, -1, 1, y_pitch);
  const auto expected = oracle::backward(c.conv, x.array(), w.array(), y.array(), dy.array());
  Half dx(c.x, x_pitch);
  Tensor dw(c.conv.weight_shape()), dbias({c.conv.out_channels});
  backend().backward(c.conv, {.x = x.view(),
                              .w = weights.view(),
                              .y = y.view(),
                              .dy = dy.view(),
                              .dx = dx.view(),
                              .dw = dw.view(),
                              .dbias = dbias.view(),
                              .of_x = {}});
  expect_near(dx.wide(), expected.dx, kStoredSum, "dx");
  expect_near(dw, expected.dw, c.dw_error, "dw");
  expect_near(dbias, expected.dbias, kInFloat, "dbias");
}

INSTANTIATE_TEST_SUITE_P(All, Bf16Conv2d, ::testing::ValuesIn(kConvCases),
                         [](const auto& test) { return test.param.name; });

TEST(Bf16, ConvolutionNormalisesWhatItReads) {
  for (const std::int64_t channels : {34, 33}) {  // in blocks; in a copy
    const ops::Conv2d op = conv(channels, 48, 1, 1, 0);
    const Shape shape{3, 7, 9, channels}, y_shape = op.output_shape(shape);
    const Half x = random_half(shape, 1, -1, 1, 0);
    const Tensor w = random_tensor(op.weight_shape(), 2), gamma = random_tensor({channels}, 5);
    const Tensor beta = random_tensor({channels}, 6), mean = random_tensor({channels}, 7);
    const Tensor variance = random_tensor({channels}, 8, 0.1F, 2);
    const ops::BatchNorm norm{.channels = channels, .activation = ops::Activation::relu};
    Half normalised(shape), expected(y_shape), y(y_shape);
    Tensor y_mean({48}), y_variance({48});
    backend().infer(norm, {.x = x.view(),
                           .gamma = gamma.view(),
                           .beta = beta.view(),
                           .mean = mean.view(),
                           .variance = variance.view(),
                           .y = normalised.view()});
    backend().forward(op, {.x = normalised.view(),
                           .w = w.view(),
                           .bias = {},
                           .y = expected.view(),
                           .of_x = {},
                           .mean = {},
                           .variance = {}});
    backend().forward(op, {.x = x.view(),
                           .w = w.view(),
                           .bias = {},
                           .y = y.view(),
                           .of_x = {.gamma = gamma.view(),
                                    .beta = beta.view(),
                                    .mean = mean.view(),
                                    .variance = variance.view(),
                                    .activation = ops::Activation::relu},
                           .mean = y_mean.view(),
                           .variance = y_variance.view()});
    expect_near(y.wide(), expected.array(), kExact, "y");
    const oracle::Array none({48});
    const auto moments = oracle::batch_norm({.channels = 48}, y.array(), none, none);
    expect_near(y_mean, moments.mean, kStored, "mean");
    expect_near(y_variance, moments.variance, kStored, "variance");
  }
}

// By the direct sums, and by Winograd's.
const ConvCase kNormCases[] = {{"Direct", {2, 9, 7, 18}, conv(18, 33, 3, 1, 1), 2},
                               {"Winograd", {2, 21, 18, 40}, conv(40, 72, 3, 1, 1), 2}};

TEST(Bf16, ConvolutionMeasuresWhatItWrites) {
  for (const ConvCase& c : kNormCases) {
    SCOPED_TRACE(c.name);
    const Shape y_shape = c.conv.output_shape(c.x), channels{c.conv.out_channels};
    const Half x = random_half(c.x, 1, 0, 1, c.x.back() + c.gap);  // means not near zero
    const Tensor w = random_tensor(c.conv.weight_shape(), 2);
    Half y(y_shape, y_shape.back() + c.gap);
    Tensor mean(channels), variance(channels);
    backend().forward(c.conv, {.x = x.view(),
                               .w = w.view(),
                               .bias = {},
                               .y = y.view(),
                               .of_x = {},
                               .mean = mean.view(),
                               .variance = variance.view()});
    const oracle::Array none(channels);
    const auto moments = oracle::batch_norm({.channels = c.conv.out_channels}, y.array(), none, none);
    expect_near(mean, moments.mean, kStored, "mean");
    expect_near(variance, moments.variance, kStored, "variance");
  }
}

// dx of a convolution that reads a batch norm of x, taken through it at once.
TEST(Bf16, ConvolutionTakesItsGradientThroughABatchNorm) {
  for (const ConvCase& c : kNormCases) {
    SCOPED_TRACE(c.name);
    const Shape y_shape = c.conv.output_shape(c.x), channels{c.conv.in_channels};
    const Half x = random_half(c.x, 1, -1, 2, c.x.back() + c.gap), w = random_half(c.conv.weight_shape(), 2, -1, 1, 0);
    Half dy = random_half(y_shape, 4, -1, 1, y_shape.back() + c.gap), dx(c.x, c.x.back() + c.gap);
    const ops::BatchNorm norm{.channels = c.conv.in_channels, .activation = ops::Activation::relu};
    const Tensor weights = w.wide(), gamma = random_tensor(channels, 5, 0.5F, 1.5F);
    const Tensor beta = random_tensor(channels, 6, -0.5F, 0.5F);
    const auto normalised = oracle::batch_norm(norm, x.array(), to_array(gamma), to_array(beta));
    const Tensor mean(normalised.mean), variance(normalised.variance);
    const Half stored(Tensor(normalised.y, c.x.back() + c.gap));
    const auto of_conv = oracle::backward(c.conv, stored.array(), w.array(), dy.array(), dy.array());
    const auto expected = oracle::batch_norm_backward(norm, x.array(), to_array(gamma), to_array(beta), of_conv.dx);
    Tensor dgamma(channels), dbeta(channels), offset(channels), slope(channels);
    backward_through(c.conv, stored.view(), weights.view(), dy.view(), dx.view(),
                     {.x = x.view(),
                      .by = {gamma.view(), beta.view(), mean.view(), variance.view(), norm.epsilon, norm.activation},
                      .dgamma = dgamma.view(),
                      .dbeta = dbeta.view(),
                      .offset = offset.view(),
                      .slope = slope.view()});
    backend().centre(
        {.x = x.view(), .mean = mean.view(), .offset = offset.view(), .slope = slope.view(), .dx = dx.view()});
    expect_near(dgamma, expected.dgamma, kByWinograd, "dgamma");
    expect_near(dbeta, expected.dbeta, kByWinograd, "dbeta");
    expect_near(dx.wide(), expected.dx, 2 * kStored, "dx");  // stored twice
  }
}

TEST(Bf16, Dense) {
  struct Layer {
    std::int64_t n, in, out;
  };
  for (const auto& [n, in, out] : {Layer{1, 1, 1}, Layer{5, 34, 10}, Layer{64, 3136, 128}, Layer{9, 33, 65}}) {
    const ops::Dense dense{.in_features = in, .out_features = out};
    const Half x = random_half({n, in}, 1, -1, 1, 0), w = random_half({in, out}, 2, -1, 1, 0);
    const Tensor weights = w.wide(), bias = random_tensor({out}, 3);
    Half y({n, out});
    Tensor logits({n, out});
    const auto expected = oracle::forward(dense, x.array(), w.array(), to_array(bias));
    backend().forward(dense, {.x = x.view(), .w = weights.view(), .bias = bias.view(), .y = y.view()});
    expect_near(y.wide(), expected, kStoredSum, "y");
    backend().forward(dense, {.x = x.view(), .w = weights.view(), .bias = bias.view(), .y = logits.view()});
    expect_near(logits, expected, kInFloat, "logits");

    Half dy = random_half({n, out}, 4, -1, 1, 0), dx({n, in});
    const auto gradients = oracle::backward(dense, x.array(), w.array(), y.array(), dy.array());
    Tensor dlogits = dy.wide(), dw({in, out}), dbias({out});
    for (const TensorView& given : {dy.view(), dlogits.view()}) {
      backend().backward(dense, {.x = x.view(),
                                 .w = weights.view(),
                                 .y = {},
                                 .dy = given,
                                 .dx = dx.view(),
                                 .dw = dw.view(),
                                 .dbias = dbias.view()});
      expect_near(dx.wide(), gradients.dx, kStoredSum, "dx");
      expect_near(dw, gradients.dw, kInFloat, "dw");
      expect_near(dbias, gradients.dbias, kInFloat, "dbias");
    }
  }
}

TEST(Bf16, DepthwiseConv2d) {
  struct Layer {
    Shape x;
    int kernel, stride, pad;
    ops::Activation activation = ops::Activation::none;
    std::int64_t pitch = 0;
  };
  for (const auto& [shape, kernel, stride, pad, activation, pitch] :
       {Layer{{2, 13, 11, 33}, 3, 1, 1, ops::Activation::relu6, 36}, Layer{{3, 12, 15, 16}, 3, 2, 1},
        Layer{{2, 9, 8, 5}, 5, 1, 2, ops::Activation::relu}}) {
    const ops::DepthwiseConv2d op{shape[3], kernel, kernel, stride, stride, pad, pad, pad, pad, activation};
    const Shape y_shape = op.output_shape(shape);
    const Half x = random_half(shape, 1, -1, 1, pitch);
    const Tensor w = random_tensor(op.weight_shape(), 2), bias = random_tensor({shape[3]}, 3);
    Half y(y_shape, pitch), dy = random_half(y_shape, 4, -1, 1, pitch), dx(shape, pitch);
    Tensor dw(w.shape), dbias(bias.shape);
    backend().forward(
        op, {.x = x.view(), .w = w.view(), .bias = bias.view(), .y = y.view(), .of_x = {}, .mean = {}, .variance = {}});
    expect_near(y.wide(), oracle::forward(op, x.array(), to_array(w), to_array(bias)), kStoredSum, "y");
    const auto expected = oracle::backward(op, x.array(), to_array(w), y.array(), dy.array());
    backend().backward(op, {.x = x.view(),
                            .w = w.view(),
                            .y = y.view(),
                            .dy = dy.view(),
                            .dx = dx.view(),
                            .dw = dw.view(),
                            .dbias = dbias.view(),
                            .of_x = {}});
    expect_near(dx.wide(), expected.dx, kStoredSum, "dx");
    expect_near(dw, expected.dw, kInFloat, "dw");
    expect_near(dbias, expected.dbias, kInFloat, "dbias");
  }
}

TEST(Bf16, BlendConverts) {
  const Tensor x = random_tensor({3, 50}, 1);
  Half rounded({3, 50});
  backend().update(ops::Blend{.keep = 0, .add = 1}, {x.view(), rounded.view()});
  expect_near(rounded.wide(), Half(x).array(), kExact, "to bf16");
  Tensor back({3, 50});
  backend().update(ops::Blend{.keep = 0, .add = 1}, {rounded.view(), back.view()});
  expect_near(back, rounded.array(), kExact, "to float");
}

}  // namespace
}  // namespace brigade::tests
