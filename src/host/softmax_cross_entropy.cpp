// Softmax cross-entropy, a row at a time: loss = log(sum of exp(x - max)) - (x[label] - max), so that no exponential
// overflows; the sum and the logarithm are in double. A target spread over classes replaces x[label] by the mean of x
// under the target, which needs the two labels and the plain mean of the row. Memory passes: the logits once (a row
// stays in L1), plus one write of probabilities or gradient. Tiny beside the layer before it, hence plain scalar code.
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

// Where the target of one row lies: weight[i] on label[i], and the rest evenly on all classes.
struct Target {
  std::int64_t label[2];
  double weight[2];
  double everywhere;  // smoothing / classes
};

// The targets of all rows.
class Targets {
 public:
  Targets(const ops::SoftmaxCrossEntropy& op, ConstTensorView labels, const ops::SoftmaxCrossEntropy::Mixed& mixed,
          std::int64_t classes)
      : labels_(labels.as<std::int32_t>()),
        mixed_(mixed.labels ? mixed.labels.as<std::int32_t>() : nullptr),
        share_(mixed.labels ? mixed.share.f32() : nullptr),
        smoothing_(op.smoothing),
        classes_(classes) {
    EXPECT(op.smoothing >= 0 && op.smoothing < 1);
  }

  Target operator()(std::int64_t row) const {
    const std::int64_t label = labels_[row];
    const std::int64_t other = mixed_ != nullptr ? mixed_[row] : label;
    const double share = share_ != nullptr ? static_cast<double>(share_[row]) : 1.0;
    EXPECT(label >= 0 && label < classes_ && other >= 0 && other < classes_ && share >= 0 && share <= 1);
    const double sharp = 1.0 - static_cast<double>(smoothing_);
    return {.label = {label, other},
            .weight = {sharp * share, sharp * (1 - share)},
            .everywhere = static_cast<double>(smoothing_) / static_cast<double>(classes_)};
  }

 private:
  const std::int32_t* labels_;
  const std::int32_t* mixed_;
  const float* share_;
  float smoothing_;
  std::int64_t classes_;
};

// Mean of x - max under the target. A weight of 0 hides its label, also if its logit is not finite.
double mean_under(const Target& target, const float* x, float max, std::int64_t classes) {
  double mean = 0;
  for (int i = 0; i < 2; ++i)
    if (target.weight[i] > 0) mean += target.weight[i] * (static_cast<double>(x[target.label[i]]) - max);
  if (target.everywhere > 0)
    for (std::int64_t i = 0; i < classes; ++i) mean += target.everywhere * (static_cast<double>(x[i]) - max);
  return mean;
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

void HostBackend::forward(const ops::SoftmaxCrossEntropy& attributes, const ops::SoftmaxCrossEntropy::Forward& op) {
  const std::int64_t rows = op.logits.shape[0], classes = op.logits.shape[1];
  EXPECT(op.labels.shape.size() == rows && op.loss.shape.size() == rows && op.label_rank.shape.size() == rows);
  EXPECT(!op.probabilities || op.probabilities.shape == op.logits.shape);
  const float* logits = op.logits.f32();
  const Targets targets(attributes, op.labels, op.mixed, classes);
  float* loss = op.loss.f32();
  auto* label_rank = op.label_rank.as<std::int32_t>();
  float* probabilities = op.probabilities ? op.probabilities.f32() : nullptr;
  for_each_row(rows, classes, [&](std::int64_t row) {
    const float* x = logits + row * op.logits.pitch;
    const Target target = targets(row);
    const float max = largest(x, classes);
    double sum = 0;
    for (std::int64_t i = 0; i < classes; ++i) sum += std::exp(x[i] - max);
    loss[row] = static_cast<float>(std::log(sum) - mean_under(target, x, max, classes));
    label_rank[row] = rank_of(x, classes, target.label[0]);
    if (probabilities != nullptr) softmax(x, classes, 1, probabilities + row * op.probabilities.pitch);
  });
}

void HostBackend::backward(const ops::SoftmaxCrossEntropy& attributes, const ops::SoftmaxCrossEntropy::Backward& op) {
  const std::int64_t rows = op.logits.shape[0], classes = op.logits.shape[1];
  EXPECT(op.labels.shape.size() == rows && op.dlogits.shape == op.logits.shape);
  const float* logits = op.logits.f32();
  const Targets targets(attributes, op.labels, op.mixed, classes);
  float* dlogits = op.dlogits.f32();
  for_each_row(rows, classes, [&](std::int64_t row) {
    const Target target = targets(row);
    float* gradient = dlogits + row * op.dlogits.pitch;
    softmax(logits + row * op.logits.pitch, classes, op.scale, gradient);
    for (int i = 0; i < 2; ++i)
      if (target.weight[i] > 0) gradient[target.label[i]] -= static_cast<float>(op.scale * target.weight[i]);
    if (target.everywhere > 0) {
      const auto even = static_cast<float>(op.scale * target.everywhere);
      for (std::int64_t i = 0; i < classes; ++i) gradient[i] -= even;
    }
  });
}

}  // namespace brigade::host
