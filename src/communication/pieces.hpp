// MPI counts with int.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace brigade::communication {

/// Floats of a message at most, so that an int counts its bytes.
inline constexpr std::size_t kMessageFloats = 1U << 28;

/// work(data, count) for one piece of `all` after the other, each of as many elements as an int counts.
template <class T, class Work>
void in_pieces(std::span<T> all, Work&& work) {
  constexpr std::size_t kElements = 1U << 30;
  for (std::size_t begin = 0; begin < all.size(); begin += kElements)
    work(all.data() + begin, static_cast<int>(std::min(kElements, all.size() - begin)));
}

}  // namespace brigade::communication
