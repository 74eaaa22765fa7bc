#include "reference_backend.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <vector>

namespace brigade::tests {
namespace {

// One position of a window: element [n, y, x] of the image under place (ky, kx) of output pixel [n, oy, ox].
struct Tap {
  std::int64_t in, out;  // pixel numbers (n * H + y) * W + x
  int place;             // ky * kernel_w + kx
};

// Calls visit for each position of each window that lies inside of the image, windows in order.
template <class Window, class Visit>
void for_each_tap(const Window& w, const Shape& in, const Shape& out, const Visit& visit) {
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

// y[out] += x[in] w;   w is [in / groups, out]: an output meets the inputs of its own group.
void multiply_add(const float* x, std::int64_t in, const float* w, std::int64_t out, float* y,
                  std::int64_t groups = 1) {
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t c = 0; c < in / groups; ++c)
      for (std::int64_t k = g * out / groups, end = (g + 1) * out / groups; k < end; ++k)
        y[k] += x[g * in / groups + c] * w[c * out + k];
}

// The gradients of multiply_add, each added to what is there.
void multiply_add_backward(const float* x, std::int64_t in, const float* w, std::int64_t out, const float* dy,
                           float* dx, float* dw, std::int64_t groups = 1) {
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t c = 0; c < in / groups; ++c) {
      const std::int64_t input = g * in / groups + c, first = g * out / groups, end = (g + 1) * out / groups;
      for (std::int64_t k = first; dw != nullptr && k < end; ++k) dw[c * out + k] += x[input] * dy[k];
      for (std::int64_t k = first; dx != nullptr && k < end; ++k) dx[input] += w[c * out + k] * dy[k];
    }
}

// Where element i of a tensor lies whose rows of `width` elements are `pitch` apart.
std::int64_t place(std::int64_t i, std::int64_t width, std::int64_t pitch) { return i / width * pitch + i % width; }

void clear(const TensorView& view) {
  if (view) std::fill_n(view.f32(), view.shape.size(), 0.0F);
}

void start_with_bias(const ConstTensorView& bias, const TensorView& y) {
  const std::int64_t channels = y.shape.back();
  for (std::int64_t i = 0; i < y.shape.size(); ++i) y.f32()[i] = bias ? bias.f32()[i % channels] : 0.0F;
}

float activated(ops::Activation activation, float y) {
  if (activation != ops::Activation::none) y = std::max(y, 0.0F);
  return activation == ops::Activation::relu6 ? std::min(y, 6.0F) : y;
}

// Whether the activation let its output y through unchanged.
bool passes(ops::Activation activation, float y) {
  if (activation == ops::Activation::none) return true;
  return y > 0 && (activation == ops::Activation::relu || y < 6);
}

void activate(ops::Activation activation, const TensorView& y) {
  for (std::int64_t i = 0; i < y.shape.size(); ++i) y.f32()[i] = activated(activation, y.f32()[i]);
}

// The activation's mask, and the gradient of the bias.
void begin_backward(ops::Activation activation, const ConstTensorView& y, const TensorView& dy,
                    const TensorView& dbias) {
  clear(dbias);
  for (std::int64_t i = 0; i < dy.shape.size(); ++i) {
    if (!passes(activation, y ? y.f32()[i] : 0)) dy.f32()[i] = 0;
    if (dbias) dbias.f32()[i % dy.shape.back()] += dy.f32()[i];
  }
}

float normalised(float x, float mean, float variance, float epsilon) {
  return (x - mean) / std::sqrt(variance + epsilon);
}

// Of the whole of x; y may be x.
void normalise(const ops::Normalisation& by, const ConstTensorView& x, const TensorView& y) {
  for (std::int64_t i = 0; i < x.shape.size(); ++i) {
    const std::int64_t c = i % x.shape.back();
    y.f32()[i] = activated(
        by.activation, by.gamma.f32()[c] * normalised(x.f32()[i], by.mean.f32()[c], by.variance.f32()[c], by.epsilon) +
                           by.beta.f32()[c]);
  }
}

void measure(const ConstTensorView& x, const TensorView& mean, const TensorView& variance) {
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

// The gradient of the normalised tensor, dense, becomes that of what was normalised, but for the centring.
void take_through(const ops::GradientThrough& t, const std::vector<float>& gradient, const TensorView& dx) {
  Dense dense;
  const ConstTensorView x = dense.in(t.x);
  const std::int64_t channels = x.shape.back(), count = x.shape.size() / channels;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double gamma = t.by.gamma.f32()[c], s = 1 / std::sqrt(t.by.variance.f32()[c] + t.by.epsilon);
    double dgamma = 0, dbeta = 0;
    for (std::int64_t i = c; i < x.shape.size(); i += channels) {
      const float xhat = normalised(x.f32()[i], t.by.mean.f32()[c], t.by.variance.f32()[c], t.by.epsilon);
      const bool on = passes(t.by.activation, t.by.gamma.f32()[c] * xhat + t.by.beta.f32()[c]);
      const double g = on ? gradient[static_cast<std::size_t>(i)] : 0;
      dbeta += g;
      dgamma += g * xhat;
      float& to = dx.f32()[place(i, channels, dx.pitch)];
      to = static_cast<float>((t.add ? to : 0) + gamma * s * g);
    }
    t.dgamma.f32()[c] = static_cast<float>(dgamma);
    t.dbeta.f32()[c] = static_cast<float>(dbeta);
    const double n = static_cast<double>(count);
    float &offset = t.offset.f32()[c], &slope = t.slope.f32()[c];
    offset = static_cast<float>((t.add_rest ? offset : 0) + gamma * s * dbeta / n);
    slope = static_cast<float>((t.add_rest ? slope : 0) + gamma * s * s * dgamma / n);
  }
}

}  // namespace

void ReferenceBackend::upload(const void* host, void* backend, std::size_t bytes) {
  std::copy_n(static_cast<const char*>(host), bytes, static_cast<char*>(backend));
}
void ReferenceBackend::download(const void* backend, void* host, std::size_t bytes) {
  std::copy_n(static_cast<const char*>(backend), bytes, static_cast<char*>(host));
}

void ReferenceBackend::forward(const ops::Conv2d& op, const ops::Conv2d::Forward& given) {
  Dense dense;
  ops::Conv2d::Forward a = given;
  a.x = dense.in(a.x, a.of_x);
  a.y = dense.out(a.y);
  const std::int64_t in = op.in_channels, out = op.out_channels, weights = in / op.groups * out;
  start_with_bias(a.bias, a.y);
  for_each_tap(op, a.x.shape, a.y.shape, [&](const Tap& t) {
    multiply_add(a.x.f32() + t.in * in, in, a.w.f32() + t.place * weights, out, a.y.f32() + t.out * out, op.groups);
  });
  activate(op.activation, a.y);
  if (a.mean) measure(a.y, a.mean, a.variance);
}

void ReferenceBackend::backward(const ops::Conv2d& op, const ops::Conv2d::Backward& given) {
  Dense dense;
  ops::Conv2d::Backward a = given;
  a.x = dense.in(a.x, a.of_x);
  a.y = dense.in(a.y);
  a.dy = dense.out(a.dy);
  std::vector<float> through(static_cast<std::size_t>(a.through ? a.dx.shape.size() : 0));
  a.dx = a.through ? TensorView(through.data(), a.dx.shape) : dense.out(a.dx);
  const std::int64_t in = op.in_channels, out = op.out_channels, weights = in / op.groups * out;
  begin_backward(op.activation, a.y, a.dy, a.dbias);
  clear(a.dx);
  clear(a.dw);
  for_each_tap(op, a.x.shape, a.dy.shape, [&](const Tap& t) {
    multiply_add_backward(a.x.f32() + t.in * in, in, a.w.f32() + t.place * weights, out, a.dy.f32() + t.out * out,
                          a.dx ? a.dx.f32() + t.in * in : nullptr, a.dw ? a.dw.f32() + t.place * weights : nullptr,
                          op.groups);
  });
  if (a.through) take_through(a.through, through, given.dx);
}

void ReferenceBackend::forward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Forward& given) {
  Dense dense;
  ops::DepthwiseConv2d::Forward a = given;
  a.x = dense.in(a.x, a.of_x);
  a.y = dense.out(a.y);
  const std::int64_t channels = op.channels;
  start_with_bias(a.bias, a.y);
  for_each_tap(op, a.x.shape, a.y.shape, [&](const Tap& t) {
    for (std::int64_t c = 0; c < channels; ++c)
      a.y.f32()[t.out * channels + c] += a.x.f32()[t.in * channels + c] * a.w.f32()[t.place * channels + c];
  });
  activate(op.activation, a.y);
  if (a.mean) measure(a.y, a.mean, a.variance);
}

void ReferenceBackend::backward(const ops::DepthwiseConv2d& op, const ops::DepthwiseConv2d::Backward& given) {
  Dense dense;
  ops::DepthwiseConv2d::Backward a = given;
  a.x = dense.in(a.x, a.of_x);
  a.y = dense.in(a.y);
  a.dy = dense.out(a.dy);
  a.dx = dense.out(a.dx);
  const std::int64_t channels = op.channels;
  begin_backward(op.activation, a.y, a.dy, a.dbias);
  clear(a.dx);
  clear(a.dw);
  for_each_tap(op, a.x.shape, a.dy.shape, [&](const Tap& t) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t in = t.in * channels + c, weight = t.place * channels + c;
      const float dy = a.dy.f32()[t.out * channels + c];
      if (a.dx) a.dx.f32()[in] += dy * a.w.f32()[weight];
      if (a.dw) a.dw.f32()[weight] += dy * a.x.f32()[in];
    }
  });
}

void ReferenceBackend::forward(const ops::Dense& op, const ops::Dense::Forward& given) {
  Dense dense;
  ops::Dense::Forward a = given;
  a.x = dense.in(a.x);
  a.y = dense.out(a.y);
  start_with_bias(a.bias, a.y);
  for (std::int64_t n = 0; n < a.x.shape[0]; ++n)
    multiply_add(a.x.f32() + n * op.in_features, op.in_features, a.w.f32(), op.out_features,
                 a.y.f32() + n * op.out_features);
  activate(op.activation, a.y);
}

void ReferenceBackend::backward(const ops::Dense& op, const ops::Dense::Backward& given) {
  Dense dense;
  ops::Dense::Backward a = given;
  a.x = dense.in(a.x);
  a.y = dense.in(a.y);
  a.dy = dense.out(a.dy);
  a.dx = dense.out(a.dx);
  begin_backward(op.activation, a.y, a.dy, a.dbias);
  clear(a.dx);
  clear(a.dw);
  for (std::int64_t n = 0; n < a.x.shape[0]; ++n)
    multiply_add_backward(a.x.f32() + n * op.in_features, op.in_features, a.w.f32(), op.out_features,
                          a.dy.f32() + n * op.out_features, a.dx ? a.dx.f32() + n * op.in_features : nullptr,
                          a.dw ? a.dw.f32() : nullptr);
}

void ReferenceBackend::forward(const ops::Relu& op, const ops::Relu::Forward& given) {
  Dense dense;
  ops::Relu::Forward a = given;
  a.x = dense.in(a.x);
  a.y = dense.out(a.y);
  for (std::int64_t i = 0; i < a.x.shape.size(); ++i) a.y.f32()[i] = std::min(std::max(a.x.f32()[i], 0.0F), op.max);
}

void ReferenceBackend::backward(const ops::Relu& op, const ops::Relu::Backward& given) {
  Dense dense;
  ops::Relu::Backward a = given;
  a.y = dense.in(a.y);
  a.dy = dense.in(a.dy);
  a.dx = dense.out(a.dx);
  for (std::int64_t i = 0; i < a.dy.shape.size(); ++i)
    a.dx.f32()[i] = a.y.f32()[i] > 0 && a.y.f32()[i] < op.max ? a.dy.f32()[i] : 0.0F;
}

void ReferenceBackend::forward(const ops::MaxPool& op, const ops::MaxPool::Forward& given) {
  Dense dense;
  ops::MaxPool::Forward a = given;
  a.x = dense.in(a.x);
  a.y = dense.out(a.y);
  const std::int64_t channels = a.x.shape.back();
  std::fill_n(a.y.f32(), a.y.shape.size(), -std::numeric_limits<float>::infinity());
  for_each_tap(op, a.x.shape, a.y.shape, [&](const Tap& t) {
    for (std::int64_t c = 0; c < channels; ++c) {
      float& y = a.y.f32()[t.out * channels + c];
      if (!(a.x.f32()[t.in * channels + c] > y)) continue;
      y = a.x.f32()[t.in * channels + c];
      if (a.winner) a.winner.as<std::uint8_t>()[t.out * channels + c] = static_cast<std::uint8_t>(t.place);
    }
  });
}

void ReferenceBackend::backward(const ops::MaxPool& op, const ops::MaxPool::Backward& given) {
  Dense dense;
  ops::MaxPool::Backward a = given;
  a.dy = dense.in(a.dy);
  a.dx = dense.out(a.dx);
  const std::int64_t channels = a.dx.shape.back();
  clear(a.dx);
  for_each_tap(op, a.dx.shape, a.dy.shape, [&](const Tap& t) {
    for (std::int64_t c = 0; c < channels; ++c)
      if (a.winner.as<std::uint8_t>()[t.out * channels + c] == t.place)
        a.dx.f32()[t.in * channels + c] += a.dy.f32()[t.out * channels + c];
  });
}

// Windows hang over no border here: the zoo pools without padding.
void ReferenceBackend::forward(const ops::AveragePool& op, const ops::AveragePool::Forward& given) {
  Dense dense;
  ops::AveragePool::Forward a = given;
  a.x = dense.in(a.x);
  a.y = dense.out(a.y);
  const std::int64_t channels = a.x.shape.back();
  const float share = 1.0F / static_cast<float>(op.kernel_h * op.kernel_w);
  clear(a.y);
  for_each_tap(op, a.x.shape, a.y.shape, [&](const Tap& t) {
    for (std::int64_t c = 0; c < channels; ++c)
      a.y.f32()[t.out * channels + c] += share * a.x.f32()[t.in * channels + c];
  });
}

void ReferenceBackend::backward(const ops::AveragePool& op, const ops::AveragePool::Backward& given) {
  Dense dense;
  ops::AveragePool::Backward a = given;
  a.dy = dense.in(a.dy);
  a.dx = dense.out(a.dx);
  const std::int64_t channels = a.dx.shape.back();
  const float share = 1.0F / static_cast<float>(op.kernel_h * op.kernel_w);
  clear(a.dx);
  for_each_tap(op, a.dx.shape, a.dy.shape, [&](const Tap& t) {
    for (std::int64_t c = 0; c < channels; ++c)
      a.dx.f32()[t.in * channels + c] += share * a.dy.f32()[t.out * channels + c];
  });
}

void ReferenceBackend::forward(const ops::GlobalAveragePool&, const ops::GlobalAveragePool::Forward& given) {
  Dense dense;
  ops::GlobalAveragePool::Forward a = given;
  a.x = dense.in(a.x);
  a.y = dense.out(a.y);
  const std::int64_t pixels = a.x.shape[1] * a.x.shape[2], channels = a.x.shape[3];
  for (std::int64_t i = 0; i < a.y.shape.size(); ++i) {
    const float* x = a.x.f32() + i / channels * pixels * channels + i % channels;
    double sum = 0;
    for (std::int64_t p = 0; p < pixels; ++p) sum += x[p * channels];
    a.y.f32()[i] = static_cast<float>(sum / static_cast<double>(pixels));
  }
}

void ReferenceBackend::backward(const ops::GlobalAveragePool&, const ops::GlobalAveragePool::Backward& given) {
  Dense dense;
  ops::GlobalAveragePool::Backward a = given;
  a.dy = dense.in(a.dy);
  a.dx = dense.out(a.dx);
  const std::int64_t pixels = a.dx.shape[1] * a.dx.shape[2], channels = a.dx.shape[3];
  for (std::int64_t i = 0; i < a.dx.shape.size(); ++i)
    a.dx.f32()[i] = a.dy.f32()[i / (pixels * channels) * channels + i % channels] / static_cast<float>(pixels);
}

void ReferenceBackend::forward(const ops::Add& op, const ops::Add::Forward& given) {
  Dense dense;
  ops::Add::Forward a = given;
  a.a = dense.in(a.a, a.of_a);
  a.b = dense.in(a.b, a.of_b);
  a.y = dense.out(a.y);
  for (std::int64_t i = 0; i < a.y.shape.size(); ++i)
    a.y.f32()[i] = activated(op.activation, a.a.f32()[i] + op.scale * a.b.f32()[i]);
}

void ReferenceBackend::backward(const ops::Add& op, const ops::Add::Backward& given) {
  Dense dense;
  ops::Add::Backward a = given;
  a.y = dense.in(a.y);
  a.dy = dense.in(a.dy);
  a.da = dense.out(a.da);
  a.db = dense.out(a.db);
  for (std::int64_t i = 0; i < a.dy.shape.size(); ++i) {
    const float dy = passes(op.activation, a.y ? a.y.f32()[i] : 0) ? a.dy.f32()[i] : 0;
    if (a.da) a.da.f32()[i] = dy;
    if (a.db) a.db.f32()[i] = op.scale * dy;
  }
}

void ReferenceBackend::forward(const ops::Concat&, const ops::Concat::Forward& a) {
  std::int64_t first = 0;
  for (const ConstTensorView& x : a.x) {
    for (std::int64_t i = 0; i < x.shape.size(); ++i)
      a.y.f32()[place(i, x.shape.back(), a.y.pitch) + first] = x.f32()[place(i, x.shape.back(), x.pitch)];
    first += x.shape.back();
  }
}

void ReferenceBackend::backward(const ops::Concat&, const ops::Concat::Backward& a) {
  std::int64_t first = 0;
  for (const TensorView& dx : a.dx) {
    for (std::int64_t i = 0; dx && i < dx.shape.size(); ++i)
      dx.f32()[place(i, dx.shape.back(), dx.pitch)] = a.dy.f32()[place(i, dx.shape.back(), a.dy.pitch) + first];
    first += dx.shape.back();
  }
}

void ReferenceBackend::forward(const ops::BatchNorm& op, const ops::BatchNorm::Forward& a) {
  Dense dense;
  measure(dense.in(a.x), a.mean, a.variance);
  if (a.y) infer(op, {a.x, a.gamma, a.beta, a.mean, a.variance, a.y});
}

void ReferenceBackend::infer(const ops::BatchNorm& op, const ops::BatchNorm::Inference& a) {
  Dense dense;
  normalise({a.gamma, a.beta, a.mean, a.variance, op.epsilon, op.activation}, dense.in(a.x), dense.out(a.y));
}

// dx = gamma / sigma * (dy - mean(dy) - xhat * mean(dy * xhat)): Ioffe and Szegedy's chain rule, collected.
void ReferenceBackend::backward(const ops::BatchNorm& op, const ops::BatchNorm::Backward& given) {
  Dense dense;
  ops::BatchNorm::Backward a = given;
  a.x = dense.in(a.x);
  a.dy = dense.in(a.dy);
  a.dx = dense.out(a.dx);
  const std::int64_t count = a.x.shape.size() / op.channels;
  for (std::int64_t c = 0; c < op.channels; ++c) {
    const auto xhat = [&](std::int64_t i) {
      return normalised(a.x.f32()[i * op.channels + c], a.mean.f32()[c], a.variance.f32()[c], op.epsilon);
    };
    const auto dy = [&](std::int64_t i) {
      return passes(op.activation, a.gamma.f32()[c] * xhat(i) + a.beta.f32()[c]) ? a.dy.f32()[i * op.channels + c]
                                                                                 : 0.0F;
    };
    double dgamma = 0, dbeta = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      dbeta += dy(i);
      dgamma += dy(i) * xhat(i);
    }
    a.dgamma.f32()[c] = static_cast<float>(dgamma);
    a.dbeta.f32()[c] = static_cast<float>(dbeta);
    if (!a.dx) continue;
    const double scale = a.gamma.f32()[c] / std::sqrt(a.variance.f32()[c] + op.epsilon);
    for (std::int64_t i = 0; i < count; ++i)
      a.dx.f32()[i * op.channels + c] =
          static_cast<float>(scale * (dy(i) - (dbeta + xhat(i) * dgamma) / static_cast<double>(count)));
  }
}

void ReferenceBackend::centre(const ops::BatchNorm::Centring& given) {
  Dense dense;
  const ConstTensorView x = dense.in(given.x);
  const TensorView dx = dense.out(given.dx);
  for (std::int64_t i = 0; i < x.shape.size(); ++i) {
    const std::int64_t c = i % x.shape.back();
    dx.f32()[i] -= given.offset.f32()[c] + given.slope.f32()[c] * (x.f32()[i] - given.mean.f32()[c]);
  }
}

namespace {

// bias + alpha * the sum of squares around channel c of a pixel.
double energy(const ops::LocalResponseNorm& op, const float* pixel, std::int64_t channels, std::int64_t c) {
  double sum = 0;
  for (std::int64_t j = std::max<std::int64_t>(0, c - op.size / 2); j <= std::min(channels - 1, c + op.size / 2); ++j)
    sum += static_cast<double>(pixel[j]) * pixel[j];
  return op.bias + op.alpha * sum;
}

}  // namespace

void ReferenceBackend::forward(const ops::LocalResponseNorm& op, const ops::LocalResponseNorm::Forward& given) {
  Dense dense;
  ops::LocalResponseNorm::Forward a = given;
  a.x = dense.in(a.x);
  a.y = dense.out(a.y);
  const std::int64_t channels = a.x.shape.back();
  for (std::int64_t i = 0; i < a.x.shape.size(); ++i) {
    const double s = energy(op, a.x.f32() + i / channels * channels, channels, i % channels);
    a.y.f32()[i] = static_cast<float>(a.x.f32()[i] * std::pow(s, -op.beta));
  }
}

void ReferenceBackend::backward(const ops::LocalResponseNorm& op, const ops::LocalResponseNorm::Backward& given) {
  Dense dense;
  ops::LocalResponseNorm::Backward a = given;
  a.x = dense.in(a.x);
  a.dy = dense.in(a.dy);
  a.dx = dense.out(a.dx);
  const std::int64_t channels = a.x.shape.back();
  std::vector<double> dx(static_cast<std::size_t>(channels));
  for (std::int64_t first = 0; first < a.x.shape.size(); first += channels) {
    const float* x = a.x.f32() + first;
    std::ranges::fill(dx, 0);
    for (std::int64_t c = 0; c < channels; ++c) {
      const double s = energy(op, x, channels, c), dy = a.dy.f32()[first + c];
      dx[static_cast<std::size_t>(c)] += dy * std::pow(s, -op.beta);
      for (std::int64_t j = std::max<std::int64_t>(0, c - op.size / 2); j <= std::min(channels - 1, c + op.size / 2);
           ++j)
        dx[static_cast<std::size_t>(j)] -= dy * x[c] * op.beta * std::pow(s, -op.beta - 1) * 2 * op.alpha * x[j];
    }
    std::ranges::transform(dx, a.dx.f32() + first, [](double v) { return static_cast<float>(v); });
  }
}

void ReferenceBackend::apply(const ops::Dropout& op, const ops::Dropout::Apply& given) {
  Dense dense;
  ops::Dropout::Apply a = given;
  a.x = dense.in(a.x);
  a.y = dense.out(a.y);
  const std::int64_t first = a.mask.first_sample * a.x.shape.sample_size();
  for (std::int64_t i = 0; i < a.x.shape.size(); ++i) {
    const bool dropped = to_uniform(random_u32(a.mask.key, static_cast<std::uint64_t>(first + i))) < op.rate;
    a.y.f32()[i] = dropped ? 0.0F : a.x.f32()[i] / (1 - op.rate);
  }
}

namespace {

std::vector<double> softmax(const float* logits, std::int64_t classes) {
  std::vector<double> p(logits, logits + classes);
  const double largest = *std::ranges::max_element(p);
  double sum = 0;
  for (double& value : p) sum += value = std::exp(value - largest);
  for (double& value : p) value /= sum;
  return p;
}

double target(const ops::SoftmaxCrossEntropy& op, ConstTensorView labels, const ops::SoftmaxCrossEntropy::Mixed& mixed,
              std::int64_t n, std::int64_t k, std::int64_t classes) {
  const double share = mixed.labels ? mixed.share.f32()[n] : 1;
  double q = labels.as<std::int32_t>()[n] == k ? share : 0;
  if (mixed.labels && mixed.labels.as<std::int32_t>()[n] == k) q += 1 - share;
  return (1.0 - op.smoothing) * q + op.smoothing / static_cast<double>(classes);
}

}  // namespace

void ReferenceBackend::forward(const ops::SoftmaxCrossEntropy& op, const ops::SoftmaxCrossEntropy::Forward& a) {
  const std::int64_t classes = a.logits.shape.back();
  for (std::int64_t n = 0; n < a.logits.shape[0]; ++n) {
    const float* logits = a.logits.f32() + n * classes;
    const std::int32_t label = a.labels.as<std::int32_t>()[n];
    const std::vector<double> p = softmax(logits, classes);
    std::int32_t above = 0;
    for (std::int64_t k = 0; k < classes; ++k)
      above += (logits[k] > logits[label] || (logits[k] == logits[label] && k < label)) ? 1 : 0;
    double loss = 0;
    for (std::int64_t k = 0; k < classes; ++k)
      if (const double q = target(op, a.labels, a.mixed, n, k, classes); q > 0)
        loss -= q * std::log(p[static_cast<std::size_t>(k)]);
    a.loss.f32()[n] = static_cast<float>(loss);
    a.label_rank.as<std::int32_t>()[n] = above;
    for (std::int64_t k = 0; a.probabilities && k < classes; ++k)
      a.probabilities.f32()[n * classes + k] = static_cast<float>(p[static_cast<std::size_t>(k)]);
  }
}

void ReferenceBackend::backward(const ops::SoftmaxCrossEntropy& op, const ops::SoftmaxCrossEntropy::Backward& a) {
  const std::int64_t classes = a.logits.shape.back();
  for (std::int64_t n = 0; n < a.logits.shape[0]; ++n) {
    const std::vector<double> p = softmax(a.logits.f32() + n * classes, classes);
    for (std::int64_t k = 0; k < classes; ++k) {
      const double q = target(op, a.labels, a.mixed, n, k, classes);
      a.dlogits.f32()[n * classes + k] = static_cast<float>(a.scale * (p[static_cast<std::size_t>(k)] - q));
    }
  }
}

void ReferenceBackend::update(const ops::Blend& op, const ops::Blend::Update& a) {
  for (std::int64_t i = 0; i < a.y.shape.size(); ++i) {
    float& y = a.y.f32()[place(i, a.y.shape.back(), a.y.pitch)];
    y = op.keep * y + op.add * a.x.f32()[place(i, a.x.shape.back(), a.x.pitch)];
  }
}

void ReferenceBackend::update(const ops::Sgd& op, const ops::Sgd::Update& a) {
  for (std::int64_t i = 0; i < a.weights.shape.size(); ++i) {
    float& w = a.weights.f32()[i];
    float& v = a.velocity.f32()[i];
    const float g = a.gradient.f32()[i] + op.weight_decay * w;
    v = op.momentum * v + g;
    w -= op.learning_rate * (op.nesterov ? g + op.momentum * v : v);
  }
}

void ReferenceBackend::update(const ops::Adam& op, const ops::Adam::Update& a) {
  const auto step = static_cast<double>(op.step);
  const double bias1 = 1 - std::pow(op.beta1, step), bias2 = 1 - std::pow(op.beta2, step);
  for (std::int64_t i = 0; i < a.weights.shape.size(); ++i) {
    float& w = a.weights.f32()[i];
    float& m = a.first_moment.f32()[i];
    float& v = a.second_moment.f32()[i];
    const float g = a.gradient.f32()[i] + op.weight_decay * w;
    m = op.beta1 * m + (1 - op.beta1) * g;
    v = op.beta2 * v + (1 - op.beta2) * g * g;
    w -= static_cast<float>(op.learning_rate * (m / bias1) / (std::sqrt(v / bias2) + op.epsilon));
  }
}

}  // namespace brigade::tests
