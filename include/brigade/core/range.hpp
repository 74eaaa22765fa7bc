/// Half-open intervals, and how to cut one into nearly equal parts.
#pragma once

#include <algorithm>

namespace brigade {

/// [begin, end)
template <class Integer>
struct Range {
  Integer begin = 0, end = 0;
  constexpr Integer size() const { return end - begin; }
};

/// Part `part` of `parts` of [0, total): the first total mod parts of them are one longer than the others.
template <class Integer>
constexpr Range<Integer> even_part(Integer total, Integer part, Integer parts) {
  const auto begin = [&](Integer i) { return i * (total / parts) + std::min(i, total % parts); };
  return {begin(part), begin(part + 1)};
}

}  // namespace brigade
