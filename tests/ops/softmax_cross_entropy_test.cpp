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

constexpr std::int64_t count(const Labels& labels) { return static_cast<std::int64_t>(labels.size()); }
ConstTensorView view(const Labels& labels) { return {labels.data(), {count(labels)}, DType::i32}; }
ConstTensorView view(const std::vector<float>& values) {
  return {values.data(), {static_cast<std::int64_t>(values.size())}};
}

// Second labels, some the same as the first; shares from 0 to 1, both ends included.
struct Mix {
  Labels labels;
  std::vector<float> share;
  ops::SoftmaxCrossEntropy::Mixed view() const {
    return labels.empty() ? ops::SoftmaxCrossEntropy::Mixed{}
                          : ops::SoftmaxCrossEntropy::Mixed{tests::view(labels), tests::view(share)};
  }
};
Mix random_mix(std::int64_t n, std::int64_t classes) {
  Mix mix;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto draw = static_cast<std::uint64_t>(i);
    mix.labels.push_back(static_cast<std::int32_t>(random_u32({.seed = 10}, draw) % classes));
    mix.share.push_back(i < 2 ? static_cast<float>(i) : to_uniform(random_u32({.seed = 11}, draw)));
  }
  return mix;
}

struct Result {
  Tensor loss, probabilities;
  Labels rank;
};
Result forward(const Tensor& logits, const Labels& labels, float smoothing = 0, const Mix& mix = {}) {
  const std::int64_t n = logits.shape[0];
  Result result{Tensor({n}), Tensor(logits.shape), Labels(labels.size(), -1)};
  backend().forward(ops::SoftmaxCrossEntropy{.smoothing = smoothing},
                    {.logits = logits.view(),
                     .labels = view(labels),
                     .loss = result.loss.view(),
                     .label_rank = {result.rank.data(), {n}, DType::i32},
                     .probabilities = result.probabilities.view(),
                     .mixed = mix.view()});
  return result;
}

TEST(SoftmaxCrossEntropy, IsTheOracle) {
  struct Case {
    std::int64_t n, classes, pitch;
    float spread, smoothing;
    bool mixed;
  };
  for (const auto& [n, classes, pitch, spread, smoothing, mixed] :
       {Case{1, 1, 0, 1, 0, false}, Case{5, 2, 0, 1, 0, false}, Case{64, 10, 0, 4, 0, false},
        Case{33, 10, 12, 4, 0, false}, Case{257, 10, 0, 80, 0, false}, Case{7, 1000, 0, 10, 0, false},
        Case{3, 1501, 0, 1, 0, false}, Case{33, 10, 12, 4, 0.1F, false}, Case{7, 1000, 0, 10, 0.3F, false},
        Case{33, 10, 12, 4, 0, true}, Case{65, 10, 0, 4, 0.1F, true}, Case{7, 1000, 0, 10, 0.1F, true}}) {
    SCOPED_TRACE(fmt::format("{} x {}, smoothing {}, mixed {}", n, classes, smoothing, mixed));
    const Tensor logits = random_tensor({n, classes}, 1, -spread, spread, pitch);
    const Labels labels = random_labels(n, classes);
    const Mix mix = mixed ? random_mix(n, classes) : Mix{};
    const Result result = forward(logits, labels, smoothing, mix);
    const auto targets = oracle::target_distribution(classes, labels, smoothing, mix.labels, mix.share);
    expect_near(result.loss, oracle::cross_entropy(to_array(logits), targets), 1e-6, "loss");
    expect_near(result.probabilities, oracle::softmax(to_array(logits)), 1e-6, "probabilities");
    EXPECT_EQ(result.rank, oracle::label_ranks(to_array(logits), labels));

    const ops::SoftmaxCrossEntropy op{.smoothing = smoothing};
    Tensor gradient = logits;
    backend().backward(op, {logits.view(), view(labels), 0.125F, gradient.view(), mix.view()});
    const auto expected = oracle::cross_entropy_backward(to_array(logits), targets, 0.125);
    for (std::int64_t i = 0; i < n * classes; ++i) EXPECT_NEAR(gradient[i], expected[i], 0.125 * 1e-6) << i;
    Tensor in_place = logits;
    backend().backward(op, {in_place.view(), view(labels), 0.125F, in_place.view(), mix.view()});
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
  const Mix mix = random_mix(4, 7);
  for (const auto& targets :
       {oracle::target_distribution(7, labels), oracle::target_distribution(7, labels, 0.1, mix.labels, mix.share)})
    expect_gradient([&](const oracle::Array& v) { return oracle::cross_entropy(v, targets); }, logits,
                    oracle::Array({4}, 0.25), oracle::cross_entropy_backward(logits, targets, 0.25));
}

}  // namespace
}  // namespace brigade::tests
