// Every kind of convolution and pass, checked by the benchmark itself, in each precision; which one it was shows in the
// error: rounding an element to bf16 is 10^4 times what a short sum of floats loses.
#include <gtest/gtest.h>

#include "benchmarks.hpp"
#include "brigade/host/backend.hpp"

namespace brigade::benchmarks {
namespace {

using network::Precision;

constexpr double kInFloat = 1e-6, kOneRounding = 0x1.02p-8;

ConvCase square(std::int64_t size, std::int64_t in, std::int64_t out, std::int64_t groups = 1) {
  return {.conv = {.in_channels = in,
                   .out_channels = out,
                   .kernel_h = 3,
                   .kernel_w = 3,
                   .pad_top = 1,
                   .pad_left = 1,
                   .pad_bottom = 1,
                   .pad_right = 1,
                   .groups = groups},
          .x = {2, size, size, in}};
}

struct Named {
  const char* name;
  ConvCase shape;
};

class Kernels : public ::testing::TestWithParam<Named> {
 protected:
  std::vector<KernelRow> measure(Precision precision) {
    const host::Runtime runtime(2);
    const auto backend = host::make_backend();
    return measure_passes(*backend, GetParam().shape, precision, {.warmup = 0, .measured = 1});
  }
};

TEST_P(Kernels, RoundTheirResultsAsThePrecisionSays) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const auto rows = measure(precision);
    ASSERT_EQ(rows.size(), 3U);
    for (const KernelRow& row : rows) {
      EXPECT_EQ(row.precision, precision);
      EXPECT_GT(row.seconds.median, 0);
      if (precision == Precision::bf16 && row.pass != ConvPass::backward_weights) {
        EXPECT_GT(row.error, 10 * kInFloat) << name_of(row.pass);
        EXPECT_LT(row.error, kOneRounding) << name_of(row.pass);
      } else {
        EXPECT_LT(row.error, kInFloat) << name_of(precision) << ' ' << name_of(row.pass);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Kernels,
    ::testing::Values(
        Named{"Convolution", square(6, 16, 20)}, Named{"OddChannels", square(5, 7, 9)},
        Named{"Groups", square(6, 12, 8, 2)},
        Named{"Depthwise", {.conv = square(6, 18, 18, 18).conv, .x = {2, 6, 6, 18}, .kind = ConvKind::depthwise}},
        Named{"Dense", {.conv = {.in_channels = 33, .out_channels = 10}, .x = {5, 1, 1, 33}, .kind = ConvKind::dense}}),
    [](const auto& test) { return test.param.name; });

TEST(Algorithm, OfLargeMapsIsWinogradsInEitherType) {
  const host::Runtime runtime(2);
  const auto backend = host::make_backend();
  for (const Precision precision : {Precision::fp32, Precision::bf16})
    for (const KernelRow& row : measure_passes(*backend, square(28, 64, 64), precision, {.warmup = 0, .measured = 1}))
      EXPECT_EQ(row.algorithm, "winograd 4x4") << name_of(precision) << ' ' << name_of(row.pass);
}

}  // namespace
}  // namespace brigade::benchmarks
