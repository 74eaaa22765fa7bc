#include "oracle/global_average_pool.hpp"

#include "brigade/ops/global_average_pool.hpp"
#include "ops/support.hpp"

namespace brigade::tests {
namespace {

struct Case {
  Shape x;
  std::int64_t pitch = 0;
};
const Case kCases[] = {{{1, 1, 1, 1}},   {{3, 7, 5, 13}},       {{2, 7, 7, 100}, 112},
                       {{2, 3, 4, 130}}, {{5, 31, 29, 17}, 20}, {{1, 112, 97, 64}}};

TEST(GlobalAveragePool, IsTheOracle) {
  const ops::GlobalAveragePool op;
  for (const auto& [shape, pitch] : kCases) {
    const Tensor x = random_tensor(shape, 1, -1, 3, pitch);
    const Shape out = op.output_shape(shape);
    Tensor y(out, out.back() + pitch), dx(shape, pitch);
    backend().forward(op, {x.view(), y.view()});
    expect_near(y, oracle::global_average_pool(to_array(x)), 1e-6, "y");
    const Tensor dy = random_tensor(out, 2, -1, 1, out.back() + 2);
    backend().backward(op, {dy.view(), dx.view()});
    expect_near(dx, oracle::global_average_pool_backward(shape, to_array(dy)), 2e-7, "dx");
  }
}

TEST(OracleGlobalAveragePool, GradientIsTheNumericalOne) {
  const auto x = random_array({2, 3, 4, 3}, 1), dy = random_array({2, 3}, 2);
  expect_gradient(oracle::global_average_pool, x, dy, oracle::global_average_pool_backward(x.shape, dy));
}

}  // namespace
}  // namespace brigade::tests
