/// The extents of a tensor, outermost first: activations are [N, H, W, C].
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace brigade {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;  ///< rank 0: a scalar, size 1
  Shape(std::initializer_list<std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t back() const { return rank_ == 0 ? 1 : (*this)[rank_ - 1]; }

  /// Number of elements (product of the extents; 1 for rank 0).
  std::int64_t size() const;
  /// Number of elements of one sample: the product of all extents but the first.
  std::int64_t sample_size() const;
  /// The same shape with another first extent (batch size).
  Shape with_batch(std::int64_t n) const;

  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

/// "[64, 28, 28, 1]"
std::string to_string(const Shape& shape);

}  // namespace brigade
