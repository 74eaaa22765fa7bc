// ReLU on its own. Memory passes: forward reads 1, writes 1; backward reads 2, writes 1.
#include "brigade/ops/relu.hpp"

#include "activation.hpp"
#include "host_backend.hpp"

namespace brigade::host {

namespace {

template <class T>
void forward_as(const ops::Relu& by, const ops::Relu::Forward& op) {
  const Vec max = broadcast(by.max);
  const T* x = op.x.as<T>();
  T* y = op.y.as<T>();
  for_each_run(op.x.shape, op.x.dense() && op.y.dense(), [&](std::int64_t row, std::int64_t column, std::int64_t n) {
    const T* from = x + row * op.x.pitch + column;
    T* to = y + row * op.y.pitch + column;
    over_lanes(n, [&](std::int64_t i, auto lanes) { lanes.store(to + i, at_most(relu(lanes.load(from + i)), max)); });
  });
}

template <class T>
void backward_as(const ops::Relu& by, const ops::Relu::Backward& op) {
  const Vec max = broadcast(by.max);
  const T* y = op.y.as<T>();
  const T* dy = op.dy.as<T>();
  T* dx = op.dx.as<T>();
  const bool dense = op.y.dense() && op.dy.dense() && op.dx.dense();
  for_each_run(op.y.shape, dense, [&](std::int64_t row, std::int64_t column, std::int64_t n) {
    const T* output = y + row * op.y.pitch + column;
    const T* from = dy + row * op.dy.pitch + column;
    T* to = dx + row * op.dx.pitch + column;
    over_lanes(n, [&](std::int64_t i, auto lanes) {
      const Vec value = lanes.load(output + i);
      lanes.store(to + i, where((value > 0.0F) & (value < max), lanes.load(from + i)));
    });
  });
}

}  // namespace

void HostBackend::forward(const ops::Relu& by, const ops::Relu::Forward& op) {
  EXPECT(op.x.shape == op.y.shape && by.max > 0);
  with_element(op.x.dtype, [&](auto element) { forward_as<typename decltype(element)::Type>(by, op); });
}

void HostBackend::backward(const ops::Relu& by, const ops::Relu::Backward& op) {
  EXPECT(op.y.shape == op.dy.shape && op.y.shape == op.dx.shape);
  with_element(op.dy.dtype, [&](auto element) { backward_as<typename decltype(element)::Type>(by, op); });
}

}  // namespace brigade::host
