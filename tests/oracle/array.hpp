// The naive reference kernels compute on this: a dense array of doubles, NHWC.
#pragma once

#include <cstddef>
#include <vector>

#include "brigade/core/shape.hpp"

namespace brigade::oracle {

struct Array {
  Shape shape;
  std::vector<double> values;

  Array() = default;
  explicit Array(const Shape& s, double value = 0) : shape(s), values(static_cast<std::size_t>(s.size()), value) {}

  std::int64_t size() const { return shape.size(); }
  double& operator[](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
  double operator[](std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
  // Element (n, y, x, c) of a tensor of rank 4, and (r, c) of a matrix.
  double& operator()(std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) { return (*this)[at(n, y, x, c)]; }
  double operator()(std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) const {
    return (*this)[at(n, y, x, c)];
  }
  double& operator()(std::int64_t r, std::int64_t c) { return (*this)[r * shape.back() + c]; }
  double operator()(std::int64_t r, std::int64_t c) const { return (*this)[r * shape.back() + c]; }

 private:
  std::int64_t at(std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) const {
    return ((n * shape[1] + y) * shape[2] + x) * shape[3] + c;
  }
};

}  // namespace brigade::oracle
