#include "reference_backend.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "reference_loops.hpp"

namespace brigade::tests {

void ReferenceBackend::upload(const void* host, void* backend, std::size_t bytes) {
  std::copy_n(static_cast<const char*>(host), bytes, static_cast<char*>(backend));
}
void ReferenceBackend::download(const void* backend, void* host, std::size_t bytes) {
  std::copy_n(static_cast<const char*>(backend), bytes, static_cast<char*>(host));
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
