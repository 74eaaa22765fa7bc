#include "oracle/pool.hpp"

#include <cmath>
#include <limits>

#include "ops/support.hpp"

namespace brigade::tests {
namespace {

struct Case {
  Shape x;
  ops::PoolWindow window;
  std::int64_t pitch = 0;
};
ops::PoolWindow square(int kernel, int stride, int pad = 0) {
  return {kernel, kernel, stride, stride, pad, pad, pad, pad};
}
const Case kCases[] = {
    {{1, 2, 2, 1}, square(2, 2)},
    {{3, 28, 28, 32}, square(2, 2)},
    {{2, 7, 9, 13}, square(2, 2)},       // rows and columns left over
    {{2, 7, 10, 48}, square(2, 2), 51},  // a slice of a wider tensor
    {{2, 11, 8, 17}, square(3, 3)},      // tiles, left over by two
    {{2, 11, 13, 19}, square(3, 2)},     // windows overlap (AlexNet)
    {{2, 11, 13, 19}, square(3, 2, 1)},  // and hang over the border (ResNet)
    {{1, 9, 7, 5}, square(3, 1, 1), 8},  // stride 1 (Inception)
    {{1, 12, 11, 20}, square(2, 3)},     // gaps between windows
    {{3, 7, 7, 35}, square(7, 7)},       // global
    {{2, 8, 13, 6}, {2, 3, 1, 2, 1, 0, 0, 2}},
    {{1, 7, 8, 6}, {3, 2, 2, 2, 1, 0, 1, 0}},  // clipped windows as large as a whole one of the other kind
    {{1, 7, 9, 6}, {5, 3, 1, 1, 2, 0, 2, 0}},
};

// Few distinct values, so that windows hold equal ones and the first must win.
Tensor coarse_tensor(const Shape& shape, std::uint64_t seed, std::int64_t pitch) {
  Tensor tensor = random_tensor(shape, seed, -4, 4, pitch);
  for (float& value : tensor.values) value = std::isnan(value) ? value : std::floor(value);
  return tensor;
}

struct Pooled {
  Tensor y;
  std::vector<std::uint8_t> winner;
};
Pooled max_pool(const ops::MaxPool& op, const Tensor& x, std::int64_t pitch) {
  Pooled result{Tensor(op.output_shape(x.shape), pitch), {}};
  result.winner.assign(static_cast<std::size_t>(result.y.shape.size()), 255);
  backend().forward(op, {x.view(), result.y.view(), {result.winner.data(), result.y.shape, DType::u8}});
  return result;
}

TEST(MaxPool, IsTheOracle) {
  for (const auto& [shape, window, pitch] : kCases) {
    const ops::MaxPool op{window};
    const Tensor x = coarse_tensor(shape, 1, pitch);
    oracle::Array expected_winner;
    const oracle::Array expected = oracle::max_pool(op, to_array(x), &expected_winner);
    const auto [y, winner] = max_pool(op, x, pitch);
    expect_near(y, expected, 0, "y");
    for (std::int64_t i = 0; i < y.shape.size(); ++i)
      ASSERT_EQ(winner[static_cast<std::size_t>(i)], expected_winner[i])
          << "winner " << i << " of " << to_string(shape);
    Tensor alone(y.shape);
    backend().forward(op, {x.view(), alone.view(), {}});
    expect_near(alone, expected, 0, "y without winner");

    const Tensor dy = random_tensor(y.shape, 2, -1, 1, pitch);
    Tensor dx(shape, pitch);
    backend().backward(op, {{winner.data(), y.shape, DType::u8}, dy.view(), dx.view()});
    expect_near(dx, oracle::max_pool_backward(op, to_array(x), to_array(dy)), 1e-6, "dx");
  }
}

TEST(MaxPool, DoesNotHideNanOrInfinity) {
  const ops::MaxPool op{square(2, 2)};
  Tensor x = random_tensor({1, 4, 8, 19}, 3);
  for (std::int64_t i = 5; i < x.shape.size(); i += 37) x[i] = std::numeric_limits<float>::quiet_NaN();
  for (std::int64_t i = 6; i < x.shape.size(); i += 41) x[i] = -std::numeric_limits<float>::infinity();
  oracle::Array expected_winner;
  const oracle::Array expected = oracle::max_pool(op, to_array(x), &expected_winner);
  const auto [y, winner] = max_pool(op, x, 0);
  expect_near(y, expected, 0);
  for (std::int64_t i = 0; i < y.shape.size(); ++i) EXPECT_EQ(winner[static_cast<std::size_t>(i)], expected_winner[i]);
}

TEST(MaxPool, PaddingNeverWins) {
  Tensor x = random_tensor({1, 3, 3, 4}, 3, -9, -8);
  Tensor y({1, 2, 2, 4});
  backend().forward(ops::MaxPool{square(3, 2, 1)}, {x.view(), y.view(), {}});
  for (const float value : y.values) EXPECT_LT(value, -7);
}

TEST(AveragePool, IsTheOracle) {
  for (const auto& [shape, window, pitch] : kCases)
    for (const bool count_padding : {false, true}) {
      const ops::AveragePool op{window, count_padding};
      const Tensor x = random_tensor(shape, 4, -1, 1, pitch);
      Tensor y(op.output_shape(shape), pitch), dx(shape, pitch);
      backend().forward(op, {x.view(), y.view()});
      expect_near(y, oracle::average_pool(op, to_array(x)), 1e-6, "y");
      const Tensor dy = random_tensor(y.shape, 5, -1, 1, pitch);
      backend().backward(op, {dy.view(), dx.view()});
      expect_near(dx, oracle::average_pool_backward(op, shape, to_array(dy)), 1e-6, "dx");
    }
}

TEST(OraclePool, GradientsAreTheNumericalOnes) {
  for (const auto& window : {square(2, 2), square(3, 2, 1), square(2, 3), ops::PoolWindow{2, 3, 1, 2, 1, 0, 0, 2}}) {
    const auto x = random_array({2, 5, 6, 2}, 6), dy = random_array(window.output_shape(x.shape), 7);
    expect_gradient([&](const oracle::Array& v) { return oracle::max_pool(window, v); }, x, dy,
                    oracle::max_pool_backward(window, x, dy));
    for (const bool count_padding : {false, true}) {
      const ops::AveragePool op{window, count_padding};
      expect_gradient([&](const oracle::Array& v) { return oracle::average_pool(op, v); }, x, dy,
                      oracle::average_pool_backward(op, x.shape, dy));
    }
  }
}

}  // namespace
}  // namespace brigade::tests
