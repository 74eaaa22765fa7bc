// Pooling. Channels are contiguous, so every window is a handful of vector operations per register of channels;
// padding is never touched, windows are clipped to the image instead.
//
// Forward goes over output rows: reads x once, writes y (and the winner, a byte per element).
// Backward goes over input rows and gathers: dx[pixel] = sum over the windows that cover it. So each dx element is
// written exactly once (zero where no window reaches), threads never meet, and the order of sums is fixed. Where
// windows tile the image (kernel = stride, no padding: nearly always) a window writes its own pixels instead, which
// reads dy and winner once rather than once per pixel.
#include "brigade/ops/pool.hpp"

#include <type_traits>

#include "host_backend.hpp"
#include "lanes.hpp"

namespace brigade::host {
namespace {

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

// Pixels of an axis that window `out` covers.
Range window(std::int64_t out, int kernel, int stride, int pad, std::int64_t extent) {
  const std::int64_t begin = out * stride - pad;
  return {std::max<std::int64_t>(0, begin), std::min(extent, begin + kernel)};
}

// The windows of an axis that cover a pixel, for pixels taken in order from 0.
class Covering {
 public:
  Covering(int kernel, int stride, int pad, std::int64_t windows)
      : kernel_(kernel), stride_(stride), pad_(pad), windows_(windows) {}
  Range next() {
    while (now_.begin < windows_ && now_.begin * stride_ - pad_ + kernel_ <= in_) ++now_.begin;
    while (now_.end < windows_ && now_.end * stride_ - pad_ <= in_) ++now_.end;
    ++in_;
    return now_;
  }
  Range at(std::int64_t in) {
    while (in_ < in) next();
    return next();
  }

 private:
  std::int64_t kernel_, stride_, pad_, windows_, in_ = 0;
  Range now_{0, 0};
};

bool tiles(const ops::PoolWindow& op) {
  return op.kernel_h == op.stride_h && op.kernel_w == op.stride_w && op.pad_top == 0 && op.pad_left == 0 &&
         op.pad_bottom == 0 && op.pad_right == 0;
}

// No window may lie in padding alone.
[[maybe_unused]] bool valid(const ops::PoolWindow& op) {
  return op.pad_top < op.kernel_h && op.pad_bottom < op.kernel_h && op.pad_left < op.kernel_w &&
         op.pad_right < op.kernel_w;
}

// Calls work(image row [n * rows + y] as n and y) for every row of a batch.
template <class Work>
void for_each_image_row(std::int64_t images, std::int64_t rows, const Work& work) {
  for_each_part(images * rows, [&](std::int64_t part) { work(part / rows, part % rows); });
}

template <class T>
void zero(T* p, std::int64_t n) {
  over_lanes(n, [&](std::int64_t c, auto lanes) { lanes.store(p + c, Vec{}); });
}

// The size of a window: known to the compiler for the common ones, so that their loops disappear.
using Two = std::integral_constant<std::int64_t, 2>;
using Three = std::integral_constant<std::int64_t, 3>;

// A window jumps between rows of the image, which hides the streams from the hardware: the pixels this many floats
// ahead are asked for early (a third more bandwidth, measured on Zen 4).
constexpr std::int64_t kAhead = 1024;

// Maximum and its tap (tap0 + ky * taps_w + kx) over kh x kw pixels. A NaN wins over every number, the first over
// others.
template <bool kWinner, class T, class Size>
void max_of_window(const T* x, std::int64_t row_pitch, std::int64_t pitch, Size kh, Size kw, int tap0, int taps_w,
                   std::int64_t channels, T* y, std::uint8_t* winner) {
  over_lanes(channels, [&](std::int64_t c, auto lanes) {
    Vec best = lanes.load(x + c);
    IntVec won = IntVec{} + tap0;
    for (std::int64_t ky = 0; ky < kh; ++ky)
      for (std::int64_t kx = 0; kx < kw; ++kx) {
        const T* pixel = x + ky * row_pitch + kx * pitch + c;
        __builtin_prefetch(pixel + kAhead);
        const Vec candidate = lanes.load(pixel);
        const auto take = ~(candidate <= best) & (best == best);
        best = take ? candidate : best;
        won = take ? IntVec{} + (tap0 + static_cast<int>(ky) * taps_w + static_cast<int>(kx)) : won;
      }
    lanes.store(y + c, best);
    if constexpr (kWinner) lanes.store_bytes(winner + c, won);
  });
}

template <class T, bool kWinner>
void max_forward(const ops::MaxPool& op, const ops::MaxPool::Forward& t) {
  const std::int64_t height = t.x.shape[1], width = t.x.shape[2], channels = t.x.shape[3];
  const std::int64_t out_h = t.y.shape[1], out_w = t.y.shape[2], pitch = t.x.pitch, row_pitch = width * pitch;
  const T* all_x = t.x.as<T>();
  T* all_y = t.y.as<T>();
  auto* all_winners = kWinner ? t.winner.as<std::uint8_t>() : nullptr;
  for_each_image_row(t.y.shape[0], out_h, [&](std::int64_t n, std::int64_t oy) {
    const Range ys = window(oy, op.kernel_h, op.stride_h, op.pad_top, height);
    const int tap_y = static_cast<int>(ys.begin - (oy * op.stride_h - op.pad_top));
    const T* x = all_x + (n * height + ys.begin) * row_pitch;
    for (std::int64_t ox = 0; ox < out_w; ++ox) {
      const Range xs = window(ox, op.kernel_w, op.stride_w, op.pad_left, width);
      const int tap = tap_y * op.kernel_w + static_cast<int>(xs.begin - (ox * op.stride_w - op.pad_left));
      const std::int64_t out = (n * out_h + oy) * out_w + ox;
      T* y = all_y + out * t.y.pitch;
      std::uint8_t* winner = kWinner ? all_winners + out * t.winner.pitch : nullptr;
      const T* corner = x + xs.begin * pitch;
      if (op.kernel_w == 2 && ys.size() == 2 && xs.size() == 2)
        max_of_window<kWinner>(corner, row_pitch, pitch, Two{}, Two{}, tap, 2, channels, y, winner);
      else if (op.kernel_w == 3 && ys.size() == 3 && xs.size() == 3)
        max_of_window<kWinner>(corner, row_pitch, pitch, Three{}, Three{}, tap, 3, channels, y, winner);
      else
        max_of_window<kWinner>(corner, row_pitch, pitch, ys.size(), xs.size(), tap, op.kernel_w, channels, y, winner);
    }
  });
}

// dx of the kh x kw pixels of one window that shares them with no other; value(c, lanes) prepares what
// pick(value, tap) gives to the pixel at that tap.
template <class T, class Size, class Value, class Pick>
void spread(T* dx, std::int64_t row_pitch, std::int64_t pitch, Size kh, Size kw, std::int64_t channels,
            const Value& value, const Pick& pick) {
  over_lanes(channels, [&](std::int64_t c, auto lanes) {
    const auto v = value(c, lanes);
    for (std::int64_t ky = 0; ky < kh; ++ky)
      for (std::int64_t kx = 0; kx < kw; ++kx)
        lanes.store(dx + ky * row_pitch + kx * pitch + c, pick(v, static_cast<int>(ky * kw + kx)));
  });
}

// Backward where windows tile the image: per output row, the rows of dx it covers; value_of(output pixel) returns
// what spread() needs.
template <class T, class ValueOf, class Pick>
void backward_tiled(const ops::PoolWindow& op, const Shape& out, const TensorView& t, const ValueOf& value_of,
                    const Pick& pick) {
  const std::int64_t height = t.shape[1], width = t.shape[2], channels = t.shape[3];
  const std::int64_t pitch = t.pitch, row_pitch = width * pitch;
  T* all_dx = t.as<T>();
  for_each_image_row(out[0], out[1], [&](std::int64_t n, std::int64_t oy) {
    T* dx = all_dx + (n * height + oy * op.kernel_h) * row_pitch;
    for (std::int64_t ox = 0; ox < out[2]; ++ox) {
      const auto value = value_of((n * out[1] + oy) * out[2] + ox);
      T* corner = dx + ox * op.kernel_w * pitch;
      if (op.kernel_h == 2 && op.kernel_w == 2)
        spread(corner, row_pitch, pitch, Two{}, Two{}, channels, value, pick);
      else
        spread(corner, row_pitch, pitch, std::int64_t{op.kernel_h}, std::int64_t{op.kernel_w}, channels, value, pick);
    }
    // What the windows leave over: columns on the right and, under the last one, rows at the bottom.
    for (int ky = 0; ky < op.kernel_h; ++ky)
      for (std::int64_t ix = out[2] * op.kernel_w; ix < width; ++ix) zero(dx + ky * row_pitch + ix * pitch, channels);
    if (oy + 1 < out[1]) return;
    for (std::int64_t i = 0; i < (height - out[1] * op.kernel_h) * width; ++i)
      zero(dx + op.kernel_h * row_pitch + i * pitch, channels);
  });
}

// Backward in general: per pixel of dx, the sum of term(output pixel, ky, kx, c, lanes) over the covering windows.
template <class T, class Term>
void backward_gathered(const ops::PoolWindow& op, const Shape& out, const TensorView& t, const Term& term) {
  const std::int64_t height = t.shape[1], width = t.shape[2], channels = t.shape[3];
  T* all_dx = t.as<T>();
  for_each_image_row(t.shape[0], height, [&](std::int64_t n, std::int64_t iy) {
    const Range ys = Covering(op.kernel_h, op.stride_h, op.pad_top, out[1]).at(iy);
    Covering columns(op.kernel_w, op.stride_w, op.pad_left, out[2]);
    for (std::int64_t ix = 0; ix < width; ++ix) {
      const Range xs = columns.next();
      T* dx = all_dx + ((n * height + iy) * width + ix) * t.pitch;
      over_lanes(channels, [&](std::int64_t c, auto lanes) {
        Vec sum{};
        for (std::int64_t oy = ys.begin; oy < ys.end; ++oy)
          for (std::int64_t ox = xs.begin; ox < xs.end; ++ox)
            sum += term(n, oy, ox, iy + op.pad_top - oy * op.stride_h, ix + op.pad_left - ox * op.stride_w, c, lanes);
        lanes.store(dx + c, sum);
      });
    }
  });
}

// 1 / number of elements that the mean of a window divides by.
float share_of(const ops::AveragePool& op, const Shape& x, std::int64_t oy, std::int64_t ox) {
  const std::int64_t count = op.count_padding ? std::int64_t{op.kernel_h} * op.kernel_w
                                              : window(oy, op.kernel_h, op.stride_h, op.pad_top, x[1]).size() *
                                                    window(ox, op.kernel_w, op.stride_w, op.pad_left, x[2]).size();
  return 1.0F / static_cast<float>(count);
}

template <class T>
void max_backward(const ops::MaxPool& op, const ops::MaxPool::Backward& t) {
  const T* all_dy = t.dy.as<T>();
  const auto* winners = t.winner.as<std::uint8_t>();
  struct Won {
    Vec dy;
    IntVec tap;
  };
  if (tiles(op)) {
    const auto value_of = [&](std::int64_t pixel) {
      return [dy = all_dy + pixel * t.dy.pitch, winner = winners + pixel * t.winner.pitch](std::int64_t c, auto lanes) {
        return Won{lanes.load(dy + c), lanes.load_bytes(winner + c)};
      };
    };
    backward_tiled<T>(op, t.dy.shape, t.dx, value_of,
                      [](const Won& won, int tap) { return where(won.tap == IntVec{} + tap, won.dy); });
  } else {
    const std::int64_t out_h = t.dy.shape[1], out_w = t.dy.shape[2];
    backward_gathered<T>(op, t.dy.shape, t.dx,
                         [&](std::int64_t n, std::int64_t oy, std::int64_t ox, std::int64_t ky, std::int64_t kx,
                             std::int64_t c, auto lanes) {
                           const std::int64_t pixel = (n * out_h + oy) * out_w + ox;
                           const IntVec tap = IntVec{} + static_cast<int>(ky * op.kernel_w + kx);
                           return where(lanes.load_bytes(winners + pixel * t.winner.pitch + c) == tap,
                                        lanes.load(all_dy + pixel * t.dy.pitch + c));
                         });
  }
}

template <class T>
void average_forward(const ops::AveragePool& op, const ops::AveragePool::Forward& t) {
  const std::int64_t height = t.x.shape[1], width = t.x.shape[2], channels = t.x.shape[3];
  const std::int64_t out_h = t.y.shape[1], out_w = t.y.shape[2], pitch = t.x.pitch, row_pitch = width * pitch;
  const T* all_x = t.x.as<T>();
  T* all_y = t.y.as<T>();
  for_each_image_row(t.y.shape[0], out_h, [&](std::int64_t n, std::int64_t oy) {
    const Range ys = window(oy, op.kernel_h, op.stride_h, op.pad_top, height);
    for (std::int64_t ox = 0; ox < out_w; ++ox) {
      const Range xs = window(ox, op.kernel_w, op.stride_w, op.pad_left, width);
      const T* corner = all_x + (n * height + ys.begin) * row_pitch + xs.begin * pitch;
      T* y = all_y + ((n * out_h + oy) * out_w + ox) * t.y.pitch;
      const float share = share_of(op, t.x.shape, oy, ox);
      over_lanes(channels, [&](std::int64_t c, auto lanes) {
        Vec sum{};
        for (std::int64_t ky = 0; ky < ys.size(); ++ky)
          for (std::int64_t kx = 0; kx < xs.size(); ++kx) {
            const T* pixel = corner + ky * row_pitch + kx * pitch + c;
            __builtin_prefetch(pixel + kAhead);
            sum += lanes.load(pixel);
          }
        lanes.store(y + c, sum * share);
      });
    }
  });
}

template <class T>
void average_backward(const ops::AveragePool& op, const ops::AveragePool::Backward& t) {
  const T* all_dy = t.dy.as<T>();
  if (tiles(op)) {
    const auto value_of = [&, share = share_of(op, t.dx.shape, 0, 0)](std::int64_t pixel) {
      return
          [dy = all_dy + pixel * t.dy.pitch, share](std::int64_t c, auto lanes) { return lanes.load(dy + c) * share; };
    };
    backward_tiled<T>(op, t.dy.shape, t.dx, value_of, [](Vec value, int) { return value; });
  } else {
    const std::int64_t out_h = t.dy.shape[1], out_w = t.dy.shape[2];
    backward_gathered<T>(
        op, t.dy.shape, t.dx,
        [&](std::int64_t n, std::int64_t oy, std::int64_t ox, std::int64_t, std::int64_t, std::int64_t c, auto lanes) {
          const T* dy = all_dy + ((n * out_h + oy) * out_w + ox) * t.dy.pitch;
          return lanes.load(dy + c) * share_of(op, t.dx.shape, oy, ox);
        });
  }
}

}  // namespace

void HostBackend::forward(const ops::MaxPool& op, const ops::MaxPool::Forward& t) {
  EXPECT(t.y.shape == op.output_shape(t.x.shape) && valid(op));
  EXPECT(!t.winner || (t.winner.shape == t.y.shape && op.kernel_h * op.kernel_w <= 256));
  with_element(t.x.dtype, [&](auto element) {
    using T = typename decltype(element)::Type;
    t.winner ? max_forward<T, true>(op, t) : max_forward<T, false>(op, t);
  });
}

void HostBackend::backward(const ops::MaxPool& op, const ops::MaxPool::Backward& t) {
  EXPECT(t.dy.shape == op.output_shape(t.dx.shape) && t.winner.shape == t.dy.shape && valid(op));
  with_element(t.dx.dtype, [&](auto element) { max_backward<typename decltype(element)::Type>(op, t); });
}

void HostBackend::forward(const ops::AveragePool& op, const ops::AveragePool::Forward& t) {
  EXPECT(t.y.shape == op.output_shape(t.x.shape) && valid(op));
  with_element(t.x.dtype, [&](auto element) { average_forward<typename decltype(element)::Type>(op, t); });
}

void HostBackend::backward(const ops::AveragePool& op, const ops::AveragePool::Backward& t) {
  EXPECT(t.dy.shape == op.output_shape(t.dx.shape) && valid(op));
  with_element(t.dx.dtype, [&](auto element) { average_backward<typename decltype(element)::Type>(op, t); });
}

}  // namespace brigade::host
