#include "micro_batch_sum.hpp"

#include <bit>

#include "brigade/core/error.hpp"

namespace brigade::training {

std::int64_t MicroBatchSum::arrays(std::int64_t count, std::int64_t leaf) {
  // A leaf of one micro-batch is added to its left neighbour at once.
  const auto levels = static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(count / leaf)));
  return leaf == 1 ? levels - 1 : levels;
}

MicroBatchSum::MicroBatchSum(ops::Backend& backend, MemoryResource& memory, TensorView source, std::int64_t count,
                             std::int64_t leaf)
    : backend_(backend), source_(source), leaf_(leaf) {
  EXPECT(leaf >= 1 && count % leaf == 0 &&
         (leaf == count || std::has_single_bit(static_cast<std::uint64_t>(count / leaf))));
  const std::int64_t needed = arrays(count, leaf);
  if (needed == 0) return;
  first_ = Buffer(memory, source.bytes());
  others_ = Buffer(backend.memory(), static_cast<std::size_t>(needed - 1) * source.bytes());
  partial_sums_.emplace_back(first_.data(), source.shape);
  for (std::int64_t i = 1; i < needed; ++i)
    partial_sums_.emplace_back(others_.as<float>() + (i - 1) * source.shape.size(), source.shape);
}

void MicroBatchSum::blend(float keep, const TensorView& from, const TensorView& to, std::int64_t begin,
                          std::int64_t end) {
  const Shape range{end - begin};
  backend_.update(ops::Blend{.keep = keep, .add = 1},
                  {.x = TensorView(from.f32() + begin, range), .y = TensorView(to.f32() + begin, range)});
}

void MicroBatchSum::add(std::int64_t number, std::int64_t begin, std::int64_t end) {
  if (partial_sums_.empty() || begin == end) return;
  auto leaf = static_cast<std::uint64_t>(number / leaf_);
  const std::int64_t within = number % leaf_;
  auto top = static_cast<std::size_t>(std::popcount(leaf));
  if (leaf_ == 1 && leaf % 2 == 1) {
    blend(1, source_, partial_sums_[--top], begin, end);
    leaf /= 2;
  } else {
    blend(within == 0 ? 0 : 1, source_, partial_sums_[top], begin, end);
  }
  if (within + 1 < leaf_) return;
  for (; leaf % 2 == 1; leaf /= 2, --top) blend(1, partial_sums_[top], partial_sums_[top - 1], begin, end);
}

}  // namespace brigade::training
