// Softmax cross-entropy, a row at a time: loss = log(sum of exp(x - max)) - (x[label] - max), so that no exponential
// overflows; the sum and the logarithm are in double. Memory passes: the logits once (a row stays in L1), plus one
// write of probabilities or gradient. Tiny beside the layer before it, hence plain scalar code.
#include "brigade/ops/softmax_cross_entropy.hpp"

#include <cmath>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

// The largest number of the row. NaN is left to the exponentials, where it reaches the loss.
float largest(const float* x, std::int64_t n) {
  float result = x[0];
  for (std::int64_t i = 1; i < n; ++i) result = x[i] > result || std::isnan(result) ? x[i] : result;
  return result;
}

// y = softmax(x) * scale; y may be x.
void softmax(const float* x, std::int64_t n, float scale, float* y) {
  const float max = largest(x, n);
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += y[i] = std::exp(x[i] - max);
  const auto factor = static_cast<float>(scale / sum);
  for (std::int64_t i = 0; i < n; ++i) y[i] *= factor;
}

// Classes ranked above the label. A NaN ranks above every number, so that it never passes for a right answer.
std::int32_t rank_of(const float* x, std::int64_t n, std::int64_t label) {
  std::int32_t rank = 0;
  for (std::int64_t i = 0; i < n; ++i) rank += i != label && !(x[i] < x[label] || (x[i] == x[label] && i > label));
  return rank;
}

// Rows are dealt out in groups worth a thread's while.
template <class Work>
void for_each_row(std::int64_t rows, std::int64_t classes, const Work& work) {
  const std::int64_t group = std::max<std::int64_t>(1, 1024 / classes);
  for_each_part((rows + group - 1) / group, [&](std::int64_t part) {
    for (std::int64_t row = part * group; row < std::min(rows, (part + 1) * group); ++row) work(row);
  });
}

}  // namespace

void HostBackend::forward(const ops::SoftmaxCrossEntropy&, const ops::SoftmaxCrossEntropy::Forward& op) {
  const std::int64_t rows = op.logits.shape[0], classes = op.logits.shape[1];
  EXPECT(op.labels.shape.size() == rows && op.loss.shape.size() == rows && op.label_rank.shape.size() == rows);
  EXPECT(!op.probabilities || op.probabilities.shape == op.logits.shape);
  const float* logits = op.logits.f32();
  const auto* labels = op.labels.as<std::int32_t>();
  float* loss = op.loss.f32();
  auto* label_rank = op.label_rank.as<std::int32_t>();
  float* probabilities = op.probabilities ? op.probabilities.f32() : nullptr;
  for_each_row(rows, classes, [&](std::int64_t row) {
    const float* x = logits + row * op.logits.pitch;
    const std::int64_t label = labels[row];
    EXPECT(label >= 0 && label < classes);
    const float max = largest(x, classes);
    double sum = 0;
    for (std::int64_t i = 0; i < classes; ++i) sum += std::exp(x[i] - max);
    loss[row] = static_cast<float>(std::log(sum) - (static_cast<double>(x[label]) - max));
    label_rank[row] = rank_of(x, classes, label);
    if (probabilities != nullptr) softmax(x, classes, 1, probabilities + row * op.probabilities.pitch);
  });
}

void HostBackend::backward(const ops::SoftmaxCrossEntropy&, const ops::SoftmaxCrossEntropy::Backward& op) {
  const std::int64_t rows = op.logits.shape[0], classes = op.logits.shape[1];
  EXPECT(op.labels.shape.size() == rows && op.dlogits.shape == op.logits.shape);
  const float* logits = op.logits.f32();
  const auto* labels = op.labels.as<std::int32_t>();
  float* dlogits = op.dlogits.f32();
  for_each_row(rows, classes, [&](std::int64_t row) {
    EXPECT(labels[row] >= 0 && labels[row] < classes);
    float* gradient = dlogits + row * op.dlogits.pitch;
    softmax(logits + row * op.logits.pitch, classes, op.scale, gradient);
    gradient[labels[row]] -= op.scale;
  });
}

}  // namespace brigade::host
