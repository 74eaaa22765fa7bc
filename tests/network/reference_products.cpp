// Convolutions and dense layers of the reference backend.
#include <algorithm>
#include <cmath>
#include <vector>

#include "reference_backend.hpp"
#include "reference_loops.hpp"

namespace brigade::tests {
namespace {

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

void start_with_bias(const ConstTensorView& bias, const TensorView& y) {
  const std::int64_t channels = y.shape.back();
  for (std::int64_t i = 0; i < y.shape.size(); ++i) y.f32()[i] = bias ? bias.f32()[i % channels] : 0.0F;
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

// The convolution's own share, dense, becomes the gradient of x.
void finish(const ops::SharedGradient& shared, const ConstTensorView& dense_x, const std::vector<float>& own,
            const TensorView& dx) {
  const std::int64_t channels = dx.shape.back();
  std::vector<float> finished(own.size());
  for (std::int64_t i = 0; i < dx.shape.size(); ++i) {
    float& to = dx.f32()[place(i, channels, dx.pitch)];
    to = (shared.add ? to : 0) + own[static_cast<std::size_t>(i)];
    if (!passes(shared.activation, dense_x.f32()[i])) to = 0;
    finished[static_cast<std::size_t>(i)] = to;
  }
  for (const ops::SharedGradient::Norm& norm : shared.norms) {
    if (!norm) break;
    Dense dense;
    const ConstTensorView z = dense.in(norm.z);
    for (std::int64_t c = 0; c < channels; ++c) {
      double dgamma = 0, dbeta = 0;
      for (std::int64_t i = c; i < z.shape.size(); i += channels) {
        const float g = finished[static_cast<std::size_t>(i)];
        dbeta += g;
        dgamma += g * normalised(z.f32()[i], norm.mean.f32()[c], norm.variance.f32()[c], norm.epsilon);
      }
      norm.dgamma.f32()[c] = static_cast<float>(dgamma);
      norm.dbeta.f32()[c] = static_cast<float>(dbeta);
    }
  }
}

}  // namespace

void ReferenceBackend::forward(const ops::Conv2d& op, const ops::Conv2d::Forward& given) {
  if (given.made_x) forward(given.made_x.op, given.made_x.tensors);
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
  if (given.made_dy) backward(given.made_dy.op, given.made_dy.tensors);
  Dense dense;
  ops::Conv2d::Backward a = given;
  a.x = dense.in(a.x, a.of_x);
  a.y = dense.in(a.y);
  a.dy = dense.out(a.dy);
  const bool apart = a.through || a.shared;
  std::vector<float> own(static_cast<std::size_t>(apart ? a.dx.shape.size() : 0));
  a.dx = apart ? TensorView(own.data(), a.dx.shape) : dense.out(a.dx);
  const std::int64_t in = op.in_channels, out = op.out_channels, weights = in / op.groups * out;
  begin_backward(op.activation, a.y, a.dy, a.dbias);
  clear(a.dx);
  clear(a.dw);
  for_each_tap(op, a.x.shape, a.dy.shape, [&](const Tap& t) {
    multiply_add_backward(a.x.f32() + t.in * in, in, a.w.f32() + t.place * weights, out, a.dy.f32() + t.out * out,
                          a.dx ? a.dx.f32() + t.in * in : nullptr, a.dw ? a.dw.f32() + t.place * weights : nullptr,
                          op.groups);
  });
  if (a.through) take_through(a.through, own, given.dx);
  if (a.shared) finish(a.shared, a.x, own, given.dx);
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

}  // namespace brigade::tests
