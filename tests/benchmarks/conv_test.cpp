// The table of shapes, the counts of bytes and operations, and the naive sums kernels are checked against.
#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>

#include "brigade/network/zoo.hpp"
#include "conv_cases.hpp"
#include "conv_oracle.hpp"

namespace brigade::benchmarks {
namespace {

TEST(ConvCases, ResNet50) {
  const auto cases = resnet50_convolutions(4);
  EXPECT_EQ(cases.size(), 23U);
  int layers = 0;
  double flops = 0, weights = 0;
  for (const auto& c : cases) {
    EXPECT_EQ(c.x[0], 4);
    layers += c.count;
    flops += c.count * c.conv.flops(c.x);
    weights += c.count * static_cast<double>(c.conv.weight_shape().size());
  }
  EXPECT_EQ(layers, 53);
  EXPECT_EQ(flops, 4 * 2 * 4087136256.0);  // torchvision's resnet50: 4.089 G multiply-adds, 2.048 M in its dense layer
  EXPECT_EQ(weights, 23454912);  // its 25557032 parameters without batch norm (53120) and dense layer (2049000)
  EXPECT_FALSE(cases.front().data_gradient);
  EXPECT_TRUE(cases.back().data_gradient);
  EXPECT_EQ(describe(cases.front()), "224x224x3 -> 64, 7x7/2");
}

TEST(ConvCases, LayersOfANetwork) {
  const auto cases = convolutions_of(network::make_network("lenet5"), 3);
  ASSERT_EQ(cases.size(), 5U);
  EXPECT_EQ(describe(cases[0]), "28x28x1 -> 6, 5x5/1");
  EXPECT_FALSE(cases[0].data_gradient);
  EXPECT_EQ(describe(cases[1]), "14x14x6 -> 16, 5x5/1");
  EXPECT_TRUE(cases[1].data_gradient);
  EXPECT_EQ(describe(cases[2]), "400 -> 120");
  EXPECT_EQ(cases[2].conv.flops(cases[2].x), 2.0 * 3 * 400 * 120);
  // x [3, 14, 14, 6], w [5, 5, 6, 16], y [3, 10, 10, 16]
  EXPECT_EQ(least_bytes(cases[1]), 4.0 * (3528 + 2400 + 4800));
  EXPECT_EQ(least_bytes(cases[1], network::Precision::bf16), 2.0 * (3528 + 4800) + 4.0 * 2400);
}

TEST(ConvCases, DepthwiseLayers) {
  const auto cases = convolutions_of(network::make_network("mobilenet"), 2);
  EXPECT_EQ(describe(cases[1]), "112x112x32, 3x3/1 depthwise");
  EXPECT_EQ(cases[1].conv.flops(cases[1].x), 2.0 * 2 * 112 * 112 * 32 * 9);
  EXPECT_EQ(least_bytes(cases[1]), 4.0 * (2 * 2 * 112 * 112 * 32 + 9 * 32));
}

// x = 1 2 3 / 4 5 6 / 7 8 9 and w = 1 10 / 100 1000, one channel, padded by one at the top and left, stride 2:
//     y = 1000*1                   100*2 + 1000*3
//         10*4 + 1000*7            1*5 + 10*6 + 100*8 + 1000*9
class SmallConv : public ::testing::Test {
 protected:
  const ConvCase conv_{
      .conv = {.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2, .pad_top = 1, .pad_left = 1},
      .x = {1, 3, 3, 1}};
  const std::vector<float> x_ = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<float> w_ = {1, 10, 100, 1000};
  const std::vector<float> dy_ = {1, -2, 3, 4};
  const std::vector<float> y_ = {1000, 3200, 7040, 9865};

  double expected(ConvPass pass, std::int64_t index) const {
    return expected_element(conv_, pass, x_, w_, dy_, index).value;
  }
};

TEST_F(SmallConv, Forward) {
  for (std::size_t i = 0; i < y_.size(); ++i)
    EXPECT_EQ(expected(ConvPass::forward, static_cast<std::int64_t>(i)), y_[i]) << i;
  EXPECT_NO_THROW(check_elements(conv_, ConvPass::forward, x_, w_, dy_, y_));
}

TEST_F(SmallConv, Gradients) {
  const std::vector<double> dx = {1000, -200, -2000, 30, 4, 40, 3000, 400, 4000};
  for (std::size_t i = 0; i < dx.size(); ++i)
    EXPECT_EQ(expected(ConvPass::backward_data, static_cast<std::int64_t>(i)), dx[i]) << i;
  // w[0, 0] meets x(1, 1); w[0, 1] x(1, 0), x(1, 2); w[1, 0] x(0, 1), x(2, 1); w[1, 1] x(0, 0), x(0, 2), x(2, 0), x(2,
  // 2)
  const std::vector<double> dw = {4 * 5, 3 * 4 + 4 * 6, -2 * 2 + 4 * 8, 1 - 2 * 3 + 3 * 7 + 4 * 9};
  for (std::size_t i = 0; i < dw.size(); ++i)
    EXPECT_EQ(expected(ConvPass::backward_weights, static_cast<std::int64_t>(i)), dw[i]) << i;
  EXPECT_EQ(expected_element(conv_, ConvPass::backward_weights, x_, w_, dy_, 3).magnitude, 1 + 6 + 21 + 36);
}

// Two groups of two channels to one, one pixel: y[k] = x[2k] w[0, k] + x[2k + 1] w[1, k].
TEST(GroupedConv, Elements) {
  const ConvCase c{.conv = {.in_channels = 4, .out_channels = 2, .groups = 2}, .x = {1, 1, 1, 4}};
  const std::vector<float> x = {1, 2, 3, 4}, w = {1, 10, 100, 1000}, dy = {5, 7};
  const auto expected = [&](ConvPass pass, std::int64_t index) {
    return expected_element(c, pass, x, w, dy, index).value;
  };
  EXPECT_EQ(expected(ConvPass::forward, 0), 1 + 200);
  EXPECT_EQ(expected(ConvPass::forward, 1), 30 + 4000);
  const std::vector<double> dx = {5, 500, 70, 7000}, dw = {5, 21, 10, 28};
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(expected(ConvPass::backward_data, i), dx[static_cast<std::size_t>(i)]) << i;
    EXPECT_EQ(expected(ConvPass::backward_weights, i), dw[static_cast<std::size_t>(i)]) << i;
  }
}

TEST_F(SmallConv, WrongAnswersAreNamed) {
  auto wrong = y_;
  wrong.back() += 1;
  EXPECT_THROW(check_elements(conv_, ConvPass::forward, x_, w_, dy_, wrong), std::runtime_error);
  wrong.back() = NAN;
  EXPECT_THROW(check_elements(conv_, ConvPass::forward, x_, w_, dy_, wrong), std::runtime_error);
}

// 9865 lies between 9856 and 9920 in bf16, 1000 and 7040 are exact, and 3200 is.
TEST_F(SmallConv, WhatIsStoredInBf16IsRoundedOnce) {
  auto rounded = y_;
  rounded.back() = 9856;
  EXPECT_THROW(check_elements(conv_, ConvPass::forward, x_, w_, dy_, rounded), std::runtime_error);
  EXPECT_DOUBLE_EQ(check_elements(conv_, ConvPass::forward, x_, w_, dy_, rounded, DType::bf16), 9.0 / 9865);
  rounded.back() = 9920;
  EXPECT_THROW(check_elements(conv_, ConvPass::forward, x_, w_, dy_, rounded, DType::bf16), std::runtime_error);
}

}  // namespace
}  // namespace brigade::benchmarks
