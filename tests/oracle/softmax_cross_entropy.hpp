#pragma once

#include <cstdint>
#include <vector>

#include "oracle/array.hpp"

namespace brigade::oracle {

Array softmax(const Array& logits);
/// -log p[n, labels[n]]
Array cross_entropy(const Array& logits, const std::vector<std::int32_t>& labels);
Array cross_entropy_backward(const Array& logits, const std::vector<std::int32_t>& labels, double scale);
/// Place of the label in the stable order of descending logits.
std::vector<std::int32_t> label_ranks(const Array& logits, const std::vector<std::int32_t>& labels);

}  // namespace brigade::oracle
