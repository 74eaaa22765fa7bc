// ReLU on its own. Memory passes: forward reads 1, writes 1; backward reads 2, writes 1.
#include "brigade/ops/relu.hpp"

#include "activation.hpp"
#include "host_backend.hpp"

namespace brigade::host {

void HostBackend::forward(const ops::Relu& by, const ops::Relu::Forward& op) {
  EXPECT(op.x.shape == op.y.shape && by.max > 0);
  const Vec max = broadcast(by.max);
  const float* x = op.x.f32();
  float* y = op.y.f32();
  for_each_run(op.x.shape, op.x.dense() && op.y.dense(), [&](std::int64_t row, std::int64_t column, std::int64_t n) {
    const float* from = x + row * op.x.pitch + column;
    float* to = y + row * op.y.pitch + column;
    over_lanes(n, [&](std::int64_t i, auto lanes) { lanes.store(to + i, at_most(relu(lanes.load(from + i)), max)); });
  });
}

void HostBackend::backward(const ops::Relu& by, const ops::Relu::Backward& op) {
  EXPECT(op.y.shape == op.dy.shape && op.y.shape == op.dx.shape);
  const Vec max = broadcast(by.max);
  const float* y = op.y.f32();
  const float* dy = op.dy.f32();
  float* dx = op.dx.f32();
  const bool dense = op.y.dense() && op.dy.dense() && op.dx.dense();
  for_each_run(op.y.shape, dense, [&](std::int64_t row, std::int64_t column, std::int64_t n) {
    const float* output = y + row * op.y.pitch + column;
    const float* from = dy + row * op.dy.pitch + column;
    float* to = dx + row * op.dx.pitch + column;
    over_lanes(n, [&](std::int64_t i, auto lanes) {
      const Vec value = lanes.load(output + i);
      lanes.store(to + i, where((value > 0.0F) & (value < max), lanes.load(from + i)));
    });
  });
}

}  // namespace brigade::host
