#include "in_place_slices.hpp"

#include <cstring>

namespace brigade::communication {

InPlaceSlices::InPlaceSlices(MPI_Comm node)
    : memory_(node, sizeof(Counters)), rank_(memory_.rank()), size_(memory_.ranks()), tree_sum_(size_) {}

std::uint64_t InPlaceSlices::start() {
  own().ready.store(++started_, std::memory_order_release);
  return started_;
}

bool InPlaceSlices::everyone_is_ready(std::uint64_t ticket) const { return memory_.everyone(&Counters::ready, ticket); }

void InPlaceSlices::reduce(const std::vector<float*>& arrays, std::size_t begin, std::size_t end) {
  if (begin == end) return;
  const std::vector<const float*> terms(arrays.begin(), arrays.end());
  tree_sum_(terms, begin, end - begin, arrays[static_cast<std::size_t>(rank_)] + begin);
}

bool InPlaceSlices::deliver(std::uint64_t ticket, const std::vector<float*>& arrays, std::size_t begin,
                            std::size_t end) {
  if (delivered_ + 1 != ticket) return false;
  const float* mine = arrays[static_cast<std::size_t>(rank_)];
  for (float* array : arrays)
    if (array != mine) std::memcpy(array + begin, mine + begin, (end - begin) * sizeof(float));
  own().delivered.store(++delivered_, std::memory_order_release);
  return true;
}

bool InPlaceSlices::done(std::uint64_t ticket) const { return memory_.everyone(&Counters::delivered, ticket); }

}  // namespace brigade::communication
