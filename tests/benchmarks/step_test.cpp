#include <gtest/gtest.h>

#include "benchmarks.hpp"
#include "brigade/host/backend.hpp"
#include "brigade/network/zoo.hpp"

namespace brigade::benchmarks {
namespace {

TEST(StepFlops, TheGradientOfTheImageIsNotComputed) {
  // lenet5: convolutions 5x5x1x6 on 28x28 and 5x5x6x16 on 10x10, dense 400x120, 120x84, 84x10
  const double first = 2.0 * 28 * 28 * 150;
  const double others = 2.0 * (100 * 2400 + 48000 + 10080 + 840);
  const auto graph = network::make_network("lenet5");
  EXPECT_EQ(step_flops(graph, 1, false), first + others);
  EXPECT_EQ(step_flops(graph, 64, true), 64 * (2 * first + 3 * others));
}

TEST(Ceilings, ArePlausible) {
  const double flops = measure_fma_flops_per_s(1);
  EXPECT_GT(flops, 1e8);
  EXPECT_LT(flops, 1e13);
  const Bandwidth bandwidth = measure_bandwidth(2);
  EXPECT_GT(bandwidth.copy_bytes_per_s, 1e7);
  EXPECT_GE(bandwidth.best_bytes_per_s(), bandwidth.triad_bytes_per_s);
  const Ceilings quick = measure_ceilings(1, Probe::quick);
  const Ceilings better = better_of(quick, {.flops_per_s = flops, .bandwidth = bandwidth});
  EXPECT_EQ(better.flops_per_s, std::max(flops, quick.flops_per_s));
  EXPECT_GE(better.bandwidth.copy_bytes_per_s, bandwidth.copy_bytes_per_s);
}

TEST(Ceilings, ThePeakOfBf16IsThatOfItsInstruction) {
  using network::Precision;
  const Ceilings without = {.flops_per_s = 100}, with = {.flops_per_s = 90, .bf16_flops_per_s = 200};
  EXPECT_EQ(without.peak_flops_per_s(Precision::bf16), 100);
  EXPECT_EQ(with.peak_flops_per_s(Precision::bf16), 200);
  EXPECT_EQ(with.peak_flops_per_s(Precision::fp32), 90);
  EXPECT_EQ(better_of(without, with).bf16_flops_per_s, 200);
  EXPECT_EQ(measure_ceilings(1, Probe::quick).bf16_flops_per_s, 0);
  const double measured = measure_ceilings(1, Probe::quick, Precision::bf16).bf16_flops_per_s;  // 0 without one
  EXPECT_TRUE(measured == 0 || (measured > 1e8 && measured < 1e14)) << measured;
}

// Runs everything once: the answers are checked inside.
TEST(Step, TrainingAndInference) {
  const host::Runtime runtime(2);
  const auto backend = host::make_backend();
  StepOptions options{.network = "lenet5", .batch = 4, .repetitions = {.warmup = 0, .measured = 3}};
  const StepReport training = measure_step(*backend, options);
  EXPECT_EQ(training.parameters, 61706);
  EXPECT_EQ(training.images, (Shape{4, 28, 28, 1}));
  EXPECT_GT(training.step_seconds.median, 0);
  EXPECT_NEAR(training.loss, 2.3, 0.5);  // log 10, untrained
  for (const char* kind : {"conv2d", "dense", "max_pool"}) {
    EXPECT_GT(training.times.at(kind)[0], 0) << kind;
    EXPECT_GT(training.times.at(kind)[1], 0) << kind;
    EXPECT_EQ(training.times.at(kind)[2], 0) << kind;
  }
  EXPECT_GT(training.times.at("sgd")[2], 0);
  double operations = 0;
  for (const auto& [kind, phases] : training.times) operations += phases[0] + phases[1] + phases[2];
  EXPECT_LE(operations, training.mean_seconds);

  options.inference = true;
  const StepReport inference = measure_step(*backend, options);
  EXPECT_EQ(inference.times.at("conv2d")[1], 0);
  EXPECT_FALSE(inference.times.contains("sgd"));
  EXPECT_LT(inference.arena_bytes, training.arena_bytes);

  const KernelReport kernels =
      measure_kernels(*backend, {.network = "lenet5", .batch = 2, .repetitions = {.warmup = 0, .measured = 2}});
  EXPECT_EQ(kernels.rows.size(), 14U);  // three passes of two convolutions and three dense layers, but the image's
  EXPECT_EQ(kernels.ceilings.size(), 6U);
  ASSERT_EQ(kernels.passes.size(), 6U);
  for (const auto& pass : kernels.passes) EXPECT_GT(pass.flops_per_s, 0);

  // Answers of groups of channels are checked, too.
  const Repetitions once = {.warmup = 0, .measured = 1};
  const KernelReport grouped =
      measure_kernels(*backend, {.network = "alexnet", .batch = 1, .image_size = 64, .repetitions = once});
  EXPECT_EQ(describe(grouped.rows[2].shape), "7x7x96 -> 256, 5x5/1 in 2 groups");
}

TEST(Step, PeakMemoryIsThatOfTheNetwork) {
  EXPECT_GT(resident_bytes(), 0);
  EXPECT_GE(peak_rss_bytes(), resident_bytes());
}

}  // namespace
}  // namespace brigade::benchmarks
