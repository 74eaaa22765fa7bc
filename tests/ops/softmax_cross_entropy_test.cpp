#include "oracle/softmax_cross_entropy.hpp"

#include <cmath>
#include <limits>

#include "brigade/core/random.hpp"
#include "ops/support.hpp"

namespace brigade::tests {
namespace {

using Labels = std::vector<std::int32_t>;

Labels random_labels(std::int64_t n, std::int64_t classes) {
  Labels labels;
  for (std::int64_t i = 0; i < n; ++i)
    labels.push_back(static_cast<std::int32_t>(random_u32({.seed = 9}, static_cast<std::uint64_t>(i)) % classes));
  return labels;
}

struct Result {
  Tensor loss, probabilities;
  Labels rank;
};
Result forward(const Tensor& logits, const Labels& labels) {
  const std::int64_t n = logits.shape[0];
  Result result{Tensor({n}), Tensor(logits.shape), Labels(labels.size(), -1)};
  backend().forward(ops::SoftmaxCrossEntropy{}, {logits.view(),
                                                 {labels.data(), {n}, DType::i32},
                                                 result.loss.view(),
                                                 {result.rank.data(), {n}, DType::i32},
                                                 result.probabilities.view()});
  return result;
}

TEST(SoftmaxCrossEntropy, IsTheOracle) {
  struct Case {
    std::int64_t n, classes, pitch;
    float spread;
  };
  for (const auto& [n, classes, pitch, spread] :
       {Case{1, 1, 0, 1}, Case{5, 2, 0, 1}, Case{64, 10, 0, 4}, Case{33, 10, 12, 4}, Case{257, 10, 0, 80},
        Case{7, 1000, 0, 10}, Case{3, 1501, 0, 1}}) {
    SCOPED_TRACE(fmt::format("{} x {}", n, classes));
    const Tensor logits = random_tensor({n, classes}, 1, -spread, spread, pitch);
    const Labels labels = random_labels(n, classes);
    const Result result = forward(logits, labels);
    expect_near(result.loss, oracle::cross_entropy(to_array(logits), labels), 1e-6, "loss");
    expect_near(result.probabilities, oracle::softmax(to_array(logits)), 1e-6, "probabilities");
    EXPECT_EQ(result.rank, oracle::label_ranks(to_array(logits), labels));

    Tensor gradient = logits;  // in place
    backend().backward(ops::SoftmaxCrossEntropy{},
                       {logits.view(), {labels.data(), {n}, DType::i32}, 0.125F, gradient.view()});
    const auto expected = oracle::cross_entropy_backward(to_array(logits), labels, 0.125);
    for (std::int64_t i = 0; i < n * classes; ++i) EXPECT_NEAR(gradient[i], expected[i], 0.125 * 1e-6) << i;
    Tensor in_place = logits;
    backend().backward(ops::SoftmaxCrossEntropy{},
                       {in_place.view(), {labels.data(), {n}, DType::i32}, 0.125F, in_place.view()});
    expect_near(in_place, to_array(gradient), 0, "in place");
  }
}

TEST(SoftmaxCrossEntropy, EqualLogitsRankByClass) {
  Tensor logits({4, 3});
  for (float& value : logits.values) value = 2;
  EXPECT_EQ(forward(logits, {0, 1, 2, 1}).rank, (Labels{0, 1, 2, 1}));
}

TEST(SoftmaxCrossEntropy, LargeLogitsDoNotOverflow) {
  Tensor logits({2, 3});
  logits.values = {1e30F, -1e30F, 0, -200, 200, 0};
  const Result result = forward(logits, {0, 0});
  EXPECT_EQ(result.loss[0], 0);
  EXPECT_FLOAT_EQ(result.loss[1], 400);
}

TEST(SoftmaxCrossEntropy, NonFiniteLogitsReachTheLossAndAreNeverRight) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  Tensor logits({4, 3});
  logits.values = {kNan, 0, 0, 0, kNan, 0, 0, kInfinity, 0, kNan, kNan, kNan};
  const Result result = forward(logits, {0, 0, 1, 2});
  for (std::int64_t n = 0; n < 4; ++n) EXPECT_TRUE(std::isnan(result.loss[n])) << n;
  EXPECT_GT(result.rank[0], 0);
  EXPECT_GT(result.rank[1], 0);
  EXPECT_GT(result.rank[3], 0);
}

TEST(OracleSoftmaxCrossEntropy, GradientIsTheNumericalOne) {
  const auto logits = random_array({4, 7}, 1, -2, 2);
  const Labels labels = random_labels(4, 7);
  expect_gradient([&](const oracle::Array& v) { return oracle::cross_entropy(v, labels); }, logits,
                  oracle::Array({4}, 0.25), oracle::cross_entropy_backward(logits, labels, 0.25));
}

}  // namespace
}  // namespace brigade::tests
