#include "oracle/dropout.hpp"

#include <algorithm>
#include <cmath>

#include "ops/support.hpp"

namespace brigade::tests {
namespace {

const RandomKey kKey{.seed = 0x123456789ABCDEFULL, .purpose = Purpose::dropout, .stream = 7, .position = 1234};

TEST(Dropout, IsTheOracle) {
  struct Case {
    Shape shape;
    std::int64_t pitch, first_sample;
    float rate;
  };
  for (const auto& [shape, pitch, first_sample, rate] :
       {Case{{1, 1}, 0, 0, 0.5F}, Case{{7, 129}, 0, 3, 0.1F}, Case{{3, 5, 7, 13}, 0, 1, 0.9F},
        Case{{3, 5, 7, 13}, 16, 1, 0.25F}, Case{{13, 2051}, 0, 5, 0.5F},
        // Past 2^32 elements, where a block number no longer fits 32 bits minus 2.
        Case{{3, 1001}, 0, 17'163'091'988, 0.3F}}) {
    Tensor x = random_tensor(shape, 1, 1, 2, pitch), y(shape, pitch);
    const ops::Dropout op{rate};
    backend().apply(op, {x.view(), y.view(), {kKey, first_sample}});
    expect_near(y, oracle::dropout(op, to_array(x), {kKey, first_sample}), 1e-6);
    backend().apply(op, {x.view(), x.view(), {kKey, first_sample}});
    expect_near(x, to_array(y), 0, "in place");
  }
}

TEST(Dropout, MaskDoesNotDependOnTheSplitOfTheBatch) {
  const Tensor x = random_tensor({12, 3, 7}, 1, 1, 2);
  Tensor whole(x.shape), pieces(x.shape);
  const ops::Dropout op{0.4F};
  backend().apply(op, {x.view(), whole.view(), {kKey, 40}});
  std::int64_t first = 0;
  for (const std::int64_t samples : {1, 2, 4, 5}) {
    Tensor part({samples, 3, 7});
    std::copy_n(x.values.begin() + first * 21, samples * 21, part.values.begin());
    backend().apply(op, {part.view(), part.view(), {kKey, 40 + first}});
    std::copy(part.values.begin(), part.values.end(), pieces.values.begin() + first * 21);
    first += samples;
  }
  expect_near(pieces, to_array(whole), 0);
}

TEST(Dropout, RateIsHonoured) {
  const Shape shape{100, 1000};
  const Tensor one = random_tensor(shape, 1, 1, 1);
  for (const float rate : {0.0F, 0.1F, 0.5F, 0.75F}) {
    Tensor y(shape);
    backend().apply(ops::Dropout{rate}, {one.view(), y.view(), {kKey}});
    const auto zeros = static_cast<double>(std::count(y.values.begin(), y.values.end(), 0.0F));
    const auto n = static_cast<double>(shape.size());
    EXPECT_NEAR(zeros, n * rate, 4 * std::sqrt(n * rate * (1 - rate))) << rate;
    for (const float value : y.values) ASSERT_TRUE(value == 0 || value == 1 / (1 - rate));
  }
}

TEST(Dropout, RateZeroIsTheIdentity) {
  const Tensor x = random_tensor({5, 77}, 1);
  Tensor y(x.shape);
  backend().apply(ops::Dropout{0}, {x.view(), y.view(), {kKey}});
  expect_near(y, to_array(x), 0);
}

TEST(Dropout, BackwardIsTheSameMask) {
  const Shape shape{9, 101};
  const Tensor x = random_tensor(shape, 1, 1, 2), dy = random_tensor(shape, 2, 1, 2);
  Tensor y(shape), dx(shape);
  backend().apply(ops::Dropout{0.5F}, {x.view(), y.view(), {kKey, 2}});
  backend().apply(ops::Dropout{0.5F}, {dy.view(), dx.view(), {kKey, 2}});
  for (std::int64_t i = 0; i < shape.size(); ++i) EXPECT_EQ(y[i] == 0, dx[i] == 0) << i;
}

TEST(OracleDropout, GradientIsTheNumericalOne) {
  const ops::Dropout op{0.3F};
  const auto x = random_array({4, 30}, 1), dy = random_array(x.shape, 2);
  expect_gradient(
      [&](const oracle::Array& v) {
        return oracle::dropout(op, v, {kKey, 1});
      },
      x, dy, oracle::dropout(op, dy, {kKey, 1}));
}

}  // namespace
}  // namespace brigade::tests
