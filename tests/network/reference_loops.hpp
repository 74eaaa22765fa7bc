// What the naive operations share: windows, activations, normalisation, and tensors with gaps made dense.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "brigade/ops/backend.hpp"

namespace brigade::tests {

// One position of a window: element [n, y, x] of the image under place (ky, kx) of output pixel [n, oy, ox].
struct Tap {
  std::int64_t in, out;  // pixel numbers (n * H + y) * W + x
  int place;             // ky * kernel_w + kx
};

// Calls visit for each position of each window that lies inside of the image, windows in order.
template <class Window, class Visit>
inline void for_each_tap(const Window& w, const Shape& in, const Shape& out, const Visit& visit) {
  for (std::int64_t n = 0; n < out[0]; ++n)
    for (std::int64_t oy = 0; oy < out[1]; ++oy)
      for (std::int64_t ox = 0; ox < out[2]; ++ox)
        for (int ky = 0; ky < w.kernel_h; ++ky)
          for (int kx = 0; kx < w.kernel_w; ++kx) {
            const std::int64_t y = oy * w.stride_h - w.pad_top + ky, x = ox * w.stride_w - w.pad_left + kx;
            if (y < 0 || y >= in[1] || x < 0 || x >= in[2]) continue;
            visit(Tap{(n * in[1] + y) * in[2] + x, (n * out[1] + oy) * out[2] + ox, ky * w.kernel_w + kx});
          }
}

// Where element i of a tensor lies whose rows of `width` elements are `pitch` apart.
inline std::int64_t place(std::int64_t i, std::int64_t width, std::int64_t pitch) {
  return i / width * pitch + i % width;
}

inline void clear(const TensorView& view) {
  if (view) std::fill_n(view.f32(), view.shape.size(), 0.0F);
}

inline float activated(ops::Activation activation, float y) {
  if (activation != ops::Activation::none) y = std::max(y, 0.0F);
  return activation == ops::Activation::relu6 ? std::min(y, 6.0F) : y;
}

// Whether the activation let its output y through unchanged.
inline bool passes(ops::Activation activation, float y) {
  if (activation == ops::Activation::none) return true;
  return y > 0 && (activation == ops::Activation::relu || y < 6);
}

inline float normalised(float x, float mean, float variance, float epsilon) {
  return (x - mean) / std::sqrt(variance + epsilon);
}

// Of the whole of x; y may be x.
inline void normalise(const ops::Normalisation& by, const ConstTensorView& x, const TensorView& y) {
  for (std::int64_t i = 0; i < x.shape.size(); ++i) {
    const std::int64_t c = i % x.shape.back();
    y.f32()[i] = activated(
        by.activation, by.gamma.f32()[c] * normalised(x.f32()[i], by.mean.f32()[c], by.variance.f32()[c], by.epsilon) +
                           by.beta.f32()[c]);
  }
}

inline void measure(const ConstTensorView& x, const TensorView& mean, const TensorView& variance) {
  const std::int64_t channels = x.shape.back(), count = x.shape.size() / channels;
  for (std::int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += x.f32()[i * channels + c];
    const double middle = sum / static_cast<double>(count);
    for (std::int64_t i = 0; i < count; ++i) squares += std::pow(x.f32()[i * channels + c] - middle, 2);
    mean.f32()[c] = static_cast<float>(middle);
    variance.f32()[c] = static_cast<float>(squares / static_cast<double>(count));
  }
}

// Dense copies of tensors whose rows lie apart, or that are to be normalised; those written are copied back at the end.
class Dense {
 public:
  Dense() = default;
  Dense(const Dense&) = delete;
  Dense& operator=(const Dense&) = delete;
  ~Dense() {
    for (const Copy& copy : copies_)
      for (std::int64_t i = 0; copy.original && i < copy.original.shape.size(); ++i)
        copy.original.f32()[place(i, copy.original.shape.back(), copy.original.pitch)] =
            copy.values[static_cast<std::size_t>(i)];
  }

  ConstTensorView in(const ConstTensorView& view, const ops::Normalisation& by = {}) {
    if (!view || (view.dense() && !by)) return view;
    const TensorView copied = copy(view, {});
    if (by) normalise(by, copied, copied);
    return copied;
  }
  TensorView out(const TensorView& view) { return !view || view.dense() ? view : copy(view, view); }

 private:
  struct Copy {
    TensorView original;  // empty: only read
    std::vector<float> values;
  };

  TensorView copy(const ConstTensorView& from, const TensorView& original) {
    copies_.push_back({original, std::vector<float>(static_cast<std::size_t>(from.shape.size()))});
    std::vector<float>& values = copies_.back().values;
    for (std::int64_t i = 0; i < from.shape.size(); ++i)
      values[static_cast<std::size_t>(i)] = from.f32()[place(i, from.shape.back(), from.pitch)];
    return {values.data(), from.shape};
  }

  std::deque<Copy> copies_;  // views point into them
};

}  // namespace brigade::tests
