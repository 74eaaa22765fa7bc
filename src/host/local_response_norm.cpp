// Local response normalisation, pixel by pixel: the squares of a pixel's channels go into a row that has zeros around
// it, so that the sum over neighbours is `size` shifted loads, and what backward sums over neighbours goes into a
// second such row. Rows are floats and stay in the first-level cache.
//
// Memory passes: forward reads 1, writes 1; backward reads 2, writes 1.
#include "brigade/ops/local_response_norm.hpp"

#include <cmath>
#include <vector>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

Vec square_root(Vec v) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)v);
#else
  for (int i = 0; i < kLanes; ++i) v[i] = std::sqrt(v[i]);
  return v;
#endif
}

// s^-beta; the published 3/4 needs no logarithm.
struct Power {
  float beta;
  Vec operator()(Vec s) const {
    if (beta == 0.75F) {
      const Vec root = square_root(s);
      return 1.0F / (root * square_root(root));
    }
    for (int i = 0; i < kLanes; ++i) s[i] = std::pow(s[i], -beta);
    return s;
  }
};

// The channels of one pixel between zeros.
class Row {
 public:
  void resize(std::int64_t channels, int radius) {
    values_.assign(static_cast<std::size_t>(channels + 2 * radius), 0.0F);
    radius_ = radius;
  }
  float* at(std::int64_t c) { return values_.data() + radius_ + c; }
  // By lane: the values of the channels [c - radius, c + radius].
  template <class Lanes>
  Vec sum(std::int64_t c, Lanes lanes) const {
    Vec total{};
    for (int j = 0; j <= 2 * radius_; ++j) total += lanes.load(values_.data() + c + j);
    return total;
  }

 private:
  std::vector<float> values_;
  int radius_ = 0;
};

// What a pixel needs: x^2; in backward dy x s^-(beta + 1), which neighbours add up, and dy s^-beta.
struct Rows {
  Row squares, products, direct;
};

// Calls work(pixel, rows) for every pixel, in parallel.
template <class Work>
void for_each_pixel(const Shape& shape, int size, const Work& work) {
  const std::int64_t channels = shape.back(), pixels = shape.size() / channels;
  const std::int64_t pixels_a_part = std::max<std::int64_t>(1, 8192 / channels);
  for_each_part((pixels + pixels_a_part - 1) / pixels_a_part, [&](std::int64_t part) {
    thread_local Rows rows;  // kept, so that a step allocates nothing
    for (Row* row : {&rows.squares, &rows.products, &rows.direct}) row->resize(channels, size / 2);
    const std::int64_t end = std::min(pixels, (part + 1) * pixels_a_part);
    for (std::int64_t pixel = part * pixels_a_part; pixel < end; ++pixel) work(pixel, rows);
  });
}

template <class T>
void square(const T* x, std::int64_t channels, Row& squares) {
  over_lanes(channels, [&](std::int64_t c, auto lanes) {
    const Vec value = lanes.load(x + c);
    lanes.store(squares.at(c), value * value);
  });
}

template <class T>
void forward_as(const ops::LocalResponseNorm& op, const ops::LocalResponseNorm::Forward& t) {
  const std::int64_t channels = t.x.shape.back();
  const Power power{op.beta};
  for_each_pixel(t.x.shape, op.size, [&](std::int64_t pixel, Rows& rows) {
    const T* x = t.x.as<T>() + pixel * t.x.pitch;
    T* y = t.y.as<T>() + pixel * t.y.pitch;
    square(x, channels, rows.squares);
    over_lanes(channels, [&](std::int64_t c, auto lanes) {
      lanes.store(y + c, lanes.load(x + c) * power(op.bias + op.alpha * rows.squares.sum(c, lanes)));
    });
  });
}

template <class T>
void backward_as(const ops::LocalResponseNorm& op, const ops::LocalResponseNorm::Backward& t) {
  const std::int64_t channels = t.x.shape.back();
  const Power power{op.beta};
  const float factor = 2 * op.alpha * op.beta;
  for_each_pixel(t.x.shape, op.size, [&](std::int64_t pixel, Rows& rows) {
    const T* x = t.x.as<T>() + pixel * t.x.pitch;
    const T* dy = t.dy.as<T>() + pixel * t.dy.pitch;
    T* dx = t.dx.as<T>() + pixel * t.dx.pitch;
    square(x, channels, rows.squares);
    over_lanes(channels, [&](std::int64_t c, auto lanes) {
      const Vec s = op.bias + op.alpha * rows.squares.sum(c, lanes);
      const Vec direct = lanes.load(dy + c) * power(s);
      lanes.store(rows.direct.at(c), direct);
      lanes.store(rows.products.at(c), direct * lanes.load(x + c) / s);
    });
    over_lanes(channels, [&](std::int64_t c, auto lanes) {
      const Vec others = factor * lanes.load(x + c) * rows.products.sum(c, lanes);
      lanes.store(dx + c, lanes.load(rows.direct.at(c)) - others);
    });
  });
}

}  // namespace

void HostBackend::forward(const ops::LocalResponseNorm& op, const ops::LocalResponseNorm::Forward& t) {
  EXPECT(t.y.shape == op.output_shape(t.x.shape) && t.y.data != t.x.data && t.y.dtype == t.x.dtype);
  with_element(t.x.dtype, [&](auto element) { forward_as<typename decltype(element)::Type>(op, t); });
}

void HostBackend::backward(const ops::LocalResponseNorm& op, const ops::LocalResponseNorm::Backward& t) {
  EXPECT(t.dx.shape == op.output_shape(t.x.shape) && t.dy.shape == t.x.shape && t.dx.data != t.x.data);
  EXPECT(t.dx.dtype == t.x.dtype && t.dy.dtype == t.x.dtype);
  with_element(t.x.dtype, [&](auto element) { backward_as<typename decltype(element)::Type>(op, t); });
}

}  // namespace brigade::host
