// Sums of two tensors. Memory passes: forward reads 2, writes 1, with or without normalisation of what it reads (none
// of its own, if the convolution that reads it makes it: pixel_maker.hpp); backward reads dy (and y with an activation)
// once and writes da and db.
#include "brigade/ops/add.hpp"

#include <limits>

#include "activation.hpp"
#include "host_backend.hpp"
#include "normalise.hpp"
#include "pixel_maker.hpp"

namespace brigade::host {
namespace {

// How a summand is read.
struct AsItIs {
  template <class Lanes>
  Vec operator()(Vec x, std::int64_t, Lanes) const {
    return x;
  }
};
// The activation as bounds, to the bit what activate() gives: one body for all of them keeps their products few.
struct Normalised {
  explicit Normalised(const Normaliser& n) : by(n) {
    constexpr float kNone = std::numeric_limits<float>::infinity();
    low = broadcast(by.activation == ops::Activation::none ? -kNone : 0);
    high = broadcast(by.activation == ops::Activation::relu6 ? kRelu6Max : kNone);
  }
  template <class Lanes>
  Vec operator()(Vec x, std::int64_t channel, Lanes lanes) const {
    const Vec v =
        normalise(x, lanes.load(by.mean + channel), lanes.load(by.scale + channel), lanes.load(by.beta + channel));
    return at_most(low > v ? low : v, high);
  }

  Normaliser by;
  Vec low, high;
};

template <class Body>
void with_reading(const Normaliser& by, const Body& body) {
  if (by)
    body(Normalised(by));
  else
    body(AsItIs());
}

// over_runs calls body(row, column, count) for what is to be added: pixels, or a part of one long row.
template <class T, ops::Activation kBy, class OverRuns, class ReadA, class ReadB>
void add(const ops::Add& op, const ops::Add::Forward& t, const OverRuns& over_runs, const ReadA& read_a,
         const ReadB& read_b) {
  const T *a = t.a.as<T>(), *b = t.b.as<T>();
  T* y = t.y.as<T>();
  over_runs([&](std::int64_t row, std::int64_t column, std::int64_t n) {
    const T* left = a + row * t.a.pitch + column;
    const T* right = b + row * t.b.pitch + column;
    T* to = y + row * t.y.pitch + column;
    over_lanes(n, [&](std::int64_t i, auto lanes) {
      const Vec sum =
          read_a(lanes.load(left + i), column + i, lanes) + op.scale * read_b(lanes.load(right + i), column + i, lanes);
      lanes.store(to + i, activate<kBy>(sum));
    });
  });
}

template <class OverRuns>
void add_as(const ops::Add& op, const ops::Add::Forward& t, const Normaliser& of_a, const Normaliser& of_b,
            const OverRuns& over_runs) {
  with_element(t.y.dtype, [&](auto element) {
    with_activation(op.activation, [&](auto by) {
      with_reading(of_a, [&](const auto& read_a) {
        with_reading(of_b, [&](const auto& read_b) {
          add<typename decltype(element)::Type, by()>(op, t, over_runs, read_a, read_b);
        });
      });
    });
  });
}

template <class T>
void backward_as(const ops::Add& op, const ops::Add::Backward& t) {
  constexpr auto kNone = ops::Activation::none;
  const T* y = op.activation == kNone ? nullptr : t.y.as<T>();
  const T* dy = t.dy.as<T>();
  // What is already in its place is not written again.
  const bool in_place = op.activation == kNone;
  T* da = t.da && !(in_place && t.da.data == t.dy.data) ? t.da.as<T>() : nullptr;
  T* db = t.db && !(in_place && t.db.data == t.dy.data && op.scale == 1) ? t.db.as<T>() : nullptr;
  if (da == nullptr && db == nullptr) return;
  const bool dense = t.dy.dense() && (y == nullptr || t.y.dense()) && (da == nullptr || t.da.dense()) &&
                     (db == nullptr || t.db.dense());
  with_activation(op.activation, [&](auto by) {
    for_each_run(t.dy.shape, dense, [&](std::int64_t row, std::int64_t column, std::int64_t n) {
      const T* from = dy + row * t.dy.pitch + column;
      const T* output = y == nullptr ? nullptr : y + row * t.y.pitch + column;
      T* to_a = da == nullptr ? nullptr : da + row * t.da.pitch + column;
      T* to_b = db == nullptr ? nullptr : db + row * t.db.pitch + column;
      over_lanes(n, [&](std::int64_t i, auto lanes) {
        Vec gradient = lanes.load(from + i);
        if constexpr (by() != kNone) gradient = masked<by()>(gradient, lanes.load(output + i));
        if (to_a != nullptr) lanes.store(to_a + i, gradient);
        if (to_b != nullptr) lanes.store(to_b + i, op.scale * gradient);
      });
    });
  });
}

}  // namespace

void HostBackend::forward(const ops::Add& op, const ops::Add::Forward& t) {
  EXPECT(t.a.shape == t.b.shape && t.a.shape == t.y.shape);
  const std::int64_t channels = t.y.shape.back();
  float* scales = scratch(Scratch::partial_sums, 2 * channels);
  const Normaliser of_a = normaliser(t.of_a, scales), of_b = normaliser(t.of_b, scales + channels);
  // Dense tensors that are read as they are count as one long row.
  const bool one_row = t.a.dense() && t.b.dense() && t.y.dense() && !of_a && !of_b;
  add_as(op, t, of_a, of_b, [&](const auto& body) { for_each_run(t.y.shape, one_row, body); });
}

SumMaker::SumMaker(HostBackend& backend, const ops::Add& op, const ops::Add::Forward& tensors)
    : op_(op), tensors_(tensors) {
  EXPECT(tensors.a.shape == tensors.b.shape && tensors.a.shape == tensors.y.shape);
  const std::int64_t channels = tensors.y.shape.back();
  float* scales = backend.scratch(Scratch::made_pixels, 2 * channels);
  of_a_ = normaliser(tensors.of_a, scales);
  of_b_ = normaliser(tensors.of_b, scales + channels);
}

void SumMaker::make(std::span<const std::int64_t> pixels, std::int64_t first, std::int64_t channels) const {
  add_as(op_, tensors_, of_a_, of_b_, [&](const auto& body) {
    for (const std::int64_t pixel : pixels) body(pixel, first, channels);
  });
}

void HostBackend::backward(const ops::Add& op, const ops::Add::Backward& t) {
  EXPECT(!t.da || t.da.shape == t.dy.shape);
  EXPECT(!t.db || t.db.shape == t.dy.shape);
  EXPECT(op.activation == ops::Activation::none || t.y.shape == t.dy.shape);
  EXPECT(op.scale == 1 || !t.da || t.da.data != t.db.data);
  with_element(t.dy.dtype, [&](auto element) { backward_as<typename decltype(element)::Type>(op, t); });
}

}  // namespace brigade::host
