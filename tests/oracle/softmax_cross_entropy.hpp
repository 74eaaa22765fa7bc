#pragma once

#include <cstdint>
#include <vector>

#include "oracle/array.hpp"

namespace brigade::oracle {

Array softmax(const Array& logits);
/// [N, classes]: the target distributions of the door's comment. `mixed` and `share` may be empty.
Array target_distribution(std::int64_t classes, const std::vector<std::int32_t>& labels, double smoothing = 0,
                          const std::vector<std::int32_t>& mixed = {}, const std::vector<float>& share = {});
/// -sum over k of targets[n, k] log p[n, k]
Array cross_entropy(const Array& logits, const Array& targets);
Array cross_entropy_backward(const Array& logits, const Array& targets, double scale);
/// Place of the label in the stable order of descending logits.
std::vector<std::int32_t> label_ranks(const Array& logits, const std::vector<std::int32_t>& labels);

}  // namespace brigade::oracle
