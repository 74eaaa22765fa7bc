#include "in_place_slices.hpp"

#include <cstring>

#include "communicator_impl.hpp"
#include "tree_sum.hpp"
#include "wire.hpp"

namespace brigade::communication {

InPlaceSlices::InPlaceSlices(MPI_Comm node, const World& world)
    : world_(world), memory_(node, sizeof(Counters)), rank_(memory_.rank()), size_(memory_.ranks()) {}

std::uint64_t InPlaceSlices::start() {
  own().ready.store(++started_, std::memory_order_release);
  return started_;
}

bool InPlaceSlices::everyone_is_ready(std::uint64_t ticket) const { return memory_.everyone(&Counters::ready, ticket); }

void InPlaceSlices::reduce(const std::vector<float*>& arrays, std::size_t begin, std::size_t end) {
  const std::vector<const float*> terms(arrays.begin(), arrays.end());
  float* const mine = arrays[static_cast<std::size_t>(rank_)];
  in_ranges(*world_.threads, begin, end, kThreadFloats,
            [&](std::size_t first, std::size_t last) { tree_sum(terms, first, last - first, mine + first); });
}

bool InPlaceSlices::deliver(std::uint64_t ticket, const std::vector<float*>& arrays, std::size_t begin,
                            std::size_t end) {
  if (delivered_ + 1 != ticket) return false;
  const float* mine = arrays[static_cast<std::size_t>(rank_)];
  in_ranges(*world_.threads, begin, end, kThreadFloats, [&](std::size_t first, std::size_t last) {
    for (float* array : arrays)
      if (array != mine) std::memcpy(array + first, mine + first, (last - first) * sizeof(float));
  });
  own().delivered.store(++delivered_, std::memory_order_release);
  return true;
}

bool InPlaceSlices::done(std::uint64_t ticket) const { return memory_.everyone(&Counters::delivered, ticket); }

}  // namespace brigade::communication
