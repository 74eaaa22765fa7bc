#include "tree_sum.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace brigade::communication {
namespace {

constexpr std::size_t kRun = 2048;  // floats of a partial sum: 8 KiB stay in the first cache

// A node of the tree: a side of one term is read where it lies, a longer one is summed into `spare` first, so that `to`
// is written only when all terms have been read.
void add_up(std::span<const float* const> terms, std::size_t at, std::size_t count, float* to, float* spare) {
  if (terms.size() == 1) {
    std::memmove(to, terms[0] + at, count * sizeof(float));
    return;
  }
  const std::size_t middle = std::bit_ceil(terms.size()) / 2;
  const float* left = terms[0] + at;
  const float* right = terms[middle] + at;
  if (terms.size() - middle > 1) {
    add_up(terms.subspan(middle), at, count, spare, spare + kRun);
    right = spare;
  }
  if (middle > 1) {
    float* sum = right == spare ? spare + kRun : spare;
    add_up(terms.first(middle), at, count, sum, sum + kRun);
    left = sum;
  }
  for (std::size_t i = 0; i < count; ++i) to[i] = left[i] + right[i];
}

}  // namespace

void tree_sum(std::span<const float* const> terms, std::size_t at, std::size_t count, float* to) {
  thread_local std::vector<float> spare;  // partial sums of a run
  spare.resize(2 * kRun * static_cast<std::size_t>(std::bit_width(terms.size())));
  for (std::size_t done = 0; done < count; done += kRun)
    add_up(terms, at + done, std::min(kRun, count - done), to + done, spare.data());
}

}  // namespace brigade::communication
