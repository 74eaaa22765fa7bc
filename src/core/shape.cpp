#include "brigade/core/shape.hpp"

#include <fmt/format.h>

#include "brigade/core/error.hpp"

namespace brigade {

Shape::Shape(std::initializer_list<std::int64_t> extents) {
  EXPECT(extents.size() <= kMaxRank);
  for (const auto extent : extents) extents_[static_cast<std::size_t>(rank_++)] = extent;
}

std::int64_t Shape::size() const {
  std::int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= (*this)[axis];
  return product;
}

std::int64_t Shape::sample_size() const {
  std::int64_t product = 1;
  for (int axis = 1; axis < rank_; ++axis) product *= (*this)[axis];
  return product;
}

Shape Shape::with_batch(std::int64_t n) const {
  Shape result = *this;
  result[0] = n;
  return result;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank(); ++axis) text += fmt::format("{}{}", axis == 0 ? "" : ", ", shape[axis]);
  return text + "]";
}

}  // namespace brigade
