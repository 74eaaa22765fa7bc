#include "oracle/softmax_cross_entropy.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace brigade::oracle {

Array softmax(const Array& logits) {
  Array p(logits.shape);
  for (std::int64_t n = 0; n < p.shape[0]; ++n) {
    double largest = logits(n, 0), sum = 0;
    for (std::int64_t k = 0; k < p.shape[1]; ++k) largest = std::max(largest, logits(n, k));
    for (std::int64_t k = 0; k < p.shape[1]; ++k) sum += p(n, k) = std::exp(logits(n, k) - largest);
    for (std::int64_t k = 0; k < p.shape[1]; ++k) p(n, k) /= sum;
  }
  return p;
}

Array target_distribution(std::int64_t classes, const std::vector<std::int32_t>& labels, double smoothing,
                          const std::vector<std::int32_t>& mixed, const std::vector<float>& share) {
  Array q({static_cast<std::int64_t>(labels.size()), classes}, smoothing / static_cast<double>(classes));
  for (std::size_t n = 0; n < labels.size(); ++n) {
    const double first = mixed.empty() ? 1 : share[n];
    const auto row = static_cast<std::int64_t>(n);
    q(row, labels[n]) += (1 - smoothing) * first;
    if (!mixed.empty()) q(row, mixed[n]) += (1 - smoothing) * (1 - first);
  }
  return q;
}

Array cross_entropy(const Array& logits, const Array& targets) {
  const Array p = softmax(logits);
  Array loss({p.shape[0]});
  for (std::int64_t n = 0; n < p.shape[0]; ++n)
    for (std::int64_t k = 0; k < p.shape[1]; ++k)
      if (targets(n, k) > 0) loss[n] -= targets(n, k) * std::log(p(n, k));
  return loss;
}

Array cross_entropy_backward(const Array& logits, const Array& targets, double scale) {
  Array d = softmax(logits);
  for (std::int64_t i = 0; i < d.size(); ++i) d[i] = scale * (d[i] - targets[i]);
  return d;
}

std::vector<std::int32_t> label_ranks(const Array& logits, const std::vector<std::int32_t>& labels) {
  std::vector<std::int32_t> ranks;
  for (std::int64_t n = 0; n < logits.shape[0]; ++n) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(logits.shape[1]));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits(n, a) > logits(n, b); });
    const auto place = std::find(order.begin(), order.end(), labels[static_cast<std::size_t>(n)]);
    ranks.push_back(static_cast<std::int32_t>(place - order.begin()));
  }
  return ranks;
}

}  // namespace brigade::oracle
