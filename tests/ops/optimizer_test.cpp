#include "oracle/optimizer.hpp"

#include "ops/support.hpp"

namespace brigade::tests {
namespace {

const Shape kShapes[] = {{1}, {17}, {5, 5, 1, 32}, {3, 8209}};

TEST(Blend, IsTheOracle) {
  for (const auto& shape : kShapes)
    for (const auto& op : {ops::Blend{}, ops::Blend{.keep = 0.9F, .add = 0.1F}}) {
      const Tensor x = random_tensor(shape, 1);
      Tensor y = random_tensor(shape, 2);
      oracle::Array expected = to_array(y);
      backend().update(op, {x.view(), y.view()});
      oracle::update(op, to_array(x), expected);
      expect_near(y, expected, 1e-6);
    }
}

TEST(Blend, OfSlices) {
  for (const auto& op : {ops::Blend{}, ops::Blend{.keep = 0, .add = 0.5F}}) {
    const Tensor x = random_tensor({3, 5, 7, 17}, 1, -1, 1, 33);
    Tensor y = random_tensor(x.shape, 2, -1, 1, 20);
    oracle::Array expected = to_array(y);
    backend().update(op, {x.view(), y.view()});
    oracle::update(op, to_array(x), expected);
    expect_near(y, expected, 1e-6);
  }
}

TEST(Blend, KeepZeroForgetsEvenNan) {
  const Tensor x = random_tensor({50}, 1);
  Tensor y({50});  // NaN
  backend().update(ops::Blend{.keep = 0, .add = 1}, {x.view(), y.view()});
  expect_near(y, to_array(x), 0);
}

// Ten steps, so that the state counts.
TEST(Sgd, IsTheOracle) {
  for (const auto& shape : kShapes)
    for (const auto& op : {ops::Sgd{.learning_rate = 0.1F, .momentum = 0}, ops::Sgd{.weight_decay = 0.01F},
                           ops::Sgd{.momentum = 0.8F, .nesterov = true, .weight_decay = 0.1F}}) {
      Tensor w = random_tensor(shape, 1), v = random_tensor(shape, 2, 0, 0);
      oracle::Array expected_w = to_array(w), expected_v = to_array(v);
      for (std::uint64_t step = 0; step < 10; ++step) {
        const Tensor g = random_tensor(shape, 3 + step);
        backend().update(op, {g.view(), w.view(), v.view()});
        oracle::update(op, to_array(g), expected_w, expected_v);
      }
      expect_near(w, expected_w, 1e-6, "weights");
      expect_near(v, expected_v, 1e-6, "velocity");
    }
}

TEST(Adam, IsTheOracle) {
  for (const auto& shape : kShapes)
    for (ops::Adam op : {ops::Adam{}, ops::Adam{.learning_rate = 0.1F, .beta1 = 0.8F, .weight_decay = 0.01F}}) {
      Tensor w = random_tensor(shape, 1), m = random_tensor(shape, 2, 0, 0), v = m;
      oracle::Array expected_w = to_array(w), expected_m = to_array(m), expected_v = to_array(v);
      for (op.step = 1; op.step <= 10; ++op.step) {
        const Tensor g = random_tensor(shape, static_cast<std::uint64_t>(2 + op.step));
        backend().update(op, {g.view(), w.view(), m.view(), v.view()});
        oracle::update(op, to_array(g), expected_w, expected_m, expected_v);
      }
      expect_near(w, expected_w, 2e-6, "weights");
      expect_near(m, expected_m, 1e-6, "first moment");
      expect_near(v, expected_v, 1e-6, "second moment");
    }
}

// The first step moves every weight by the learning rate against the gradient's sign, whatever its size.
TEST(Adam, FirstStepIsTheLearningRate) {
  for (const float size : {1e-3F, 1.0F, 1e3F}) {
    Tensor w = random_tensor({40}, 1, 0, 0), m = w, v = w;
    const Tensor g = random_tensor({40}, 2, size, 2 * size);
    backend().update(ops::Adam{.learning_rate = 0.01F}, {g.view(), w.view(), m.view(), v.view()});
    for (const float value : w.values) EXPECT_NEAR(value, -0.01, 2e-6) << size;
  }
}

}  // namespace
}  // namespace brigade::tests
