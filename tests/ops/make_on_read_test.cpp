// Convolutions that make the sum that they read, or the gradient: to the bit what the operations give one after the
// other, in floats and in bf16, and in floats near the oracle.
#include <ostream>
#include <string>

#include "ops/half.hpp"
#include "ops/support.hpp"
#include "oracle/add.hpp"
#include "oracle/batch_norm.hpp"
#include "oracle/conv2d.hpp"

namespace brigade::tests {
namespace {

struct Case {
  std::string name;
  Shape x;
  ops::Conv2d conv;
  std::int64_t gap = 0;  // channels between the pixels of tensors: slices of wider ones
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

ops::Conv2d pointwise(std::int64_t in, std::int64_t out, int stride = 1) {
  return {.in_channels = in, .out_channels = out, .stride_h = stride, .stride_w = stride};
}

const Case kCases[] = {
    {"OnePixel", {1, 1, 1, 3}, pointwise(3, 3)},
    {"OddChannels", {2, 9, 7, 17}, pointwise(17, 33)},
    {"Slices", {2, 9, 7, 18}, pointwise(18, 34), 6},
    {"ManyBlocks", {3, 17, 13, 64}, pointwise(64, 96)},
    {"SmallMaps", {5, 7, 7, 48}, pointwise(48, 48)},
    {"KBlocks", {2, 5, 5, 1100}, pointwise(1100, 40)},
    {"KBlocksOfTheGradient", {2, 5, 5, 40}, pointwise(40, 2100)},
    {"PanelGroups", {1, 2, 3, 64}, pointwise(64, 640)},
    {"Stride2", {3, 19, 15, 32}, pointwise(32, 48, 2)},
    {"Stride2SmallMaps", {4, 14, 13, 24}, pointwise(24, 20, 2), 2},
};

// Of either type.
template <class T>
T random(const Shape& shape, std::uint64_t seed, std::int64_t gap, float low = -1, float high = 1) {
  return T(random_tensor(shape, seed, low, high, shape.back() + gap));
}
const Tensor& wide(const Tensor& t) { return t; }
Tensor wide(const Half& t) { return t.wide(); }

struct Norm {
  explicit Norm(const Shape& of_channels, std::uint64_t seed)
      : gamma(random_tensor(of_channels, seed, 0.5F, 1.5F)),
        beta(random_tensor(of_channels, seed + 1)),
        mean(random_tensor(of_channels, seed + 2)),
        variance(random_tensor(of_channels, seed + 3, 0.1F, 2)) {}
  ops::Normalisation view(ops::Activation activation) const {
    return {gamma.view(), beta.view(), mean.view(), variance.view(), 1e-3F, activation};
  }
  oracle::Array of(const Tensor& x, ops::Activation activation) const {
    return oracle::batch_norm_infer({.channels = x.shape.back(), .activation = activation}, to_array(x),
                                    to_array(gamma), to_array(beta), to_array(mean), to_array(variance));
  }
  Tensor gamma, beta, mean, variance;
};

class MakeOnRead : public ::testing::TestWithParam<Case> {
 protected:
  template <class T>
  void check_sum(bool normalised, bool measured, bool in_place);
  template <class T>
  void check_gradient(bool finishes);
};

template <class T>
void MakeOnRead::check_sum(bool normalised, bool measured, bool in_place) {
  SCOPED_TRACE(fmt::format("normalised {}, measured {}, in place {}", normalised, measured, in_place));
  const Case& c = GetParam();
  const Shape in{c.conv.in_channels}, out{c.conv.out_channels}, y_shape = c.conv.output_shape(c.x);
  const T a = random<T>(c.x, 1, c.gap);
  T b = random<T>(c.x, 2, 2 * c.gap), sum(c.x, c.x.back() + c.gap), y(y_shape, y_shape.back() + c.gap), made_y = y;
  T made = in_place ? b : sum;
  const Tensor w = random_tensor(c.conv.weight_shape(), 3);
  const Norm norm(in, 4);
  const ops::Add op{.scale = 0.7F, .activation = ops::Activation::relu};
  ops::Add::Forward summands{.a = a.view(), .b = b.view(), .y = sum.view()};
  if (normalised) summands.of_b = norm.view(ops::Activation::relu6);
  Tensor mean(out), variance(out), made_mean(out), made_variance(out);
  ops::Conv2d::Forward t{.x = sum.view(), .w = w.view(), .bias = {}, .y = y.view()};
  if (measured) t.mean = mean.view(), t.variance = variance.view();
  backend().forward(op, summands);
  backend().forward(c.conv, t);

  summands.y = made.view();
  if (in_place) summands.b = made.view();
  t.x = made.view(), t.y = made_y.view(), t.made_x = {op, summands};
  if (measured) t.mean = made_mean.view(), t.variance = made_variance.view();
  backend().forward(c.conv, t);
  expect_near(wide(made), to_array(wide(sum)), 0, "sum");
  expect_near(wide(made_y), to_array(wide(y)), 0, "y");
  if (measured) expect_near(made_mean, to_array(mean), 0, "mean");
  if (measured) expect_near(made_variance, to_array(variance), 0, "variance");

  if constexpr (std::is_same_v<T, Tensor>) {
    const auto expected = oracle::add(op, to_array(a), normalised ? norm.of(b, ops::Activation::relu6) : to_array(b));
    expect_near(made, expected, 2e-6, "sum");
    expect_near(made_y, oracle::forward(c.conv, expected, to_array(w), {}), 5e-6, "y");
  }
}

// With `finishes`, dx is added to the very gradient that dy is made of.
template <class T>
void MakeOnRead::check_gradient(bool finishes) {
  SCOPED_TRACE(finishes ? "finishes" : "alone");
  const Case& c = GetParam();
  const Shape of_channels{c.conv.out_channels}, y_shape = c.conv.output_shape(c.x);
  const T x = random<T>(c.x, 1, c.gap), g = random<T>(y_shape, 2, c.gap), z = random<T>(y_shape, 3, 2 * c.gap, -1, 2);
  const Tensor w = random_tensor(c.conv.weight_shape(), 4);
  const Norm norm(of_channels, 5);
  const ops::BatchNorm op{.channels = c.conv.out_channels};
  const auto measured = oracle::batch_norm(op, to_array(wide(z)), to_array(norm.gamma), to_array(norm.beta));
  const Tensor mean(measured.mean), variance(measured.variance);
  Tensor dgamma(of_channels), dbeta(of_channels);
  ops::BatchNorm::Backward of_norm{.x = z.view(),
                                   .gamma = norm.gamma.view(),
                                   .beta = norm.beta.view(),
                                   .mean = mean.view(),
                                   .variance = variance.view(),
                                   .dy = g.view(),
                                   .dx = {},
                                   .dgamma = dgamma.view(),
                                   .dbeta = dbeta.view()};
  backend().backward(op, of_norm);
  of_norm.sums = ops::BatchNorm::Sums::given;

  struct Gradients {
    T dy, dx;
    Tensor dw, dbias;
  };
  Gradients apart{T(y_shape), finishes ? g : T(c.x), Tensor(w.shape), Tensor(of_channels)}, made = apart;
  made.dy = z;  // its own input is overwritten
  const auto backward = [&](Gradients& to, const ops::Conv2d::MadeGradient& made_dy) {
    backend().backward(c.conv, {.x = x.view(),
                                .w = w.view(),
                                .y = {},
                                .dy = to.dy.view(),
                                .dx = to.dx.view(),
                                .dw = to.dw.view(),
                                .dbias = to.dbias.view(),
                                .shared = {.finishes = finishes, .add = finishes},
                                .made_dy = made_dy});
  };
  of_norm.dx = apart.dy.view();
  backend().backward(op, of_norm);
  backward(apart, {});
  of_norm.x = made.dy.view(), of_norm.dx = made.dy.view();
  if (finishes) of_norm.dy = made.dx.view();
  backward(made, {op, of_norm});
  expect_near(wide(made.dx), to_array(wide(apart.dx)), 0, "dx");
  expect_near(made.dw, to_array(apart.dw), 0, "dw");
  expect_near(made.dbias, to_array(apart.dbias), 0, "dbias");

  if constexpr (std::is_same_v<T, Tensor>) {
    if (y_shape.size() / y_shape.back() <= 2) return;  // of fewer pixels it is nothing but rounding
    const auto dy =
        oracle::batch_norm_backward(op, to_array(z), to_array(norm.gamma), to_array(norm.beta), to_array(g)).dx;
    auto expected = oracle::backward(c.conv, to_array(x), to_array(w), dy, dy);
    if (finishes)
      for (std::int64_t i = 0; i < c.x.size(); ++i) expected.dx[i] += g[i];
    expect_near(made.dx, expected.dx, 1e-5, "dx");
    expect_near(made.dw, expected.dw, 1e-5, "dw");
  }
}

TEST_P(MakeOnRead, Sum) {
  if (!GetParam().conv.makes_input()) return;
  for (const bool normalised : {false, true})
    for (const bool measured : {false, true}) {
      check_sum<Tensor>(normalised, measured, false);
      check_sum<Half>(normalised, measured, false);
    }
  check_sum<Tensor>(true, true, true);
  check_sum<Half>(false, true, true);
}

TEST_P(MakeOnRead, Gradient) {
  check_gradient<Tensor>(false);
  check_gradient<Half>(false);
  if (!GetParam().conv.makes_input() || GetParam().conv.in_channels != GetParam().conv.out_channels) return;
  check_gradient<Tensor>(true);
  check_gradient<Half>(true);
}

INSTANTIATE_TEST_SUITE_P(All, MakeOnRead, ::testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace brigade::tests
