// The fields programs read, from reports with known numbers.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "benchmarks.hpp"

namespace brigade::benchmarks {
namespace {

TEST(Report, Kernels) {
  const ConvCase shape{.conv = {.in_channels = 3, .out_channels = 4}, .x = {2, 5, 5, 3}, .count = 6};  // 1200 FLOP
  KernelReport report;
  report.options.batch = 2;
  report.threads = 3;
  const Ceilings ceilings = {.flops_per_s = 1e5, .bandwidth = {.copy_bytes_per_s = 1e6, .triad_bytes_per_s = 2e6}};
  report.ceilings = {ceilings};
  report.rows = {{.shape = shape,
                  .pass = ConvPass::backward_data,
                  .seconds = {.min = 0.005, .p10 = 0.01, .median = 0.02, .p90 = 0.03},
                  .ceilings = ceilings}};
  report.passes = {{.kind = ConvKind::depthwise,
                    .pass = ConvPass::backward_data,
                    .flops_per_s = 6e4,
                    .share_of_peak = 0.6,
                    .share_of_bandwidth = 0.3,
                    .seconds = 0.12}};

  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["benchmark"], "kernels");
  EXPECT_EQ(json["threads"], 3);
  EXPECT_EQ(json["batch_size"], 2);
  EXPECT_EQ(json["precision"], "fp32");
  EXPECT_EQ(json["peak_instruction"], "fma");
  const auto& row = json["rows"][0];
  EXPECT_EQ(row["pass"], "backward-data");
  EXPECT_EQ(row["shape"], "5x5x3 -> 4, 1x1/1");
  EXPECT_EQ(row["count"], 6);
  EXPECT_EQ(row["flops"], 1200);
  EXPECT_EQ(row["bytes"], 4 * (150 + 12 + 200));
  EXPECT_EQ(row["kind"], "convolution");
  EXPECT_DOUBLE_EQ(row["seconds"]["min"], 0.005);
  EXPECT_DOUBLE_EQ(row["seconds"]["median"], 0.02);
  EXPECT_DOUBLE_EQ(row["flops_per_s"], 6e4);
  EXPECT_DOUBLE_EQ(row["share_of_peak"], 0.6);
  EXPECT_DOUBLE_EQ(row["bytes_per_s"], 72400);
  EXPECT_DOUBLE_EQ(row["share_of_bandwidth"], 72400 / 2e6);
  EXPECT_DOUBLE_EQ(json["ceilings"][0]["triad_bytes_per_s"], 2e6);
  const auto& pass = json["passes"]["depthwise"]["backward-data"];
  EXPECT_DOUBLE_EQ(pass["geometric_mean_share_of_peak"], 0.6);
  EXPECT_DOUBLE_EQ(pass["geometric_mean_share_of_bandwidth"], 0.3);
  EXPECT_DOUBLE_EQ(pass["all_layers_s"], 0.12);
}

TEST(Report, KernelsInBf16) {
  const auto bf16 = network::Precision::bf16;
  const ConvCase shape{.conv = {.in_channels = 3, .out_channels = 4}, .x = {2, 5, 5, 3}};  // 1200 FLOP
  KernelReport report;
  report.options.precision = bf16;
  const auto parsed = [&](const Ceilings& ceilings) {
    report.ceilings = {ceilings};
    report.rows = {{.shape = shape, .precision = bf16, .seconds = {.median = 0.02}, .ceilings = ceilings}};
    return nlohmann::json::parse(to_json(report));
  };
  const Bandwidth bandwidth = {.copy_bytes_per_s = 1e6, .triad_bytes_per_s = 2e6};

  const auto pairs = parsed({.flops_per_s = 1e5, .bf16_flops_per_s = 2e5, .bandwidth = bandwidth});
  EXPECT_EQ(pairs["precision"], "bf16");
  EXPECT_EQ(pairs["peak_instruction"], "vdpbf16ps");
  EXPECT_DOUBLE_EQ(pairs["ceilings"][0]["peak_flops_per_s"], 2e5);
  EXPECT_DOUBLE_EQ(pairs["ceilings"][0]["fma_flops_per_s"], 1e5);
  EXPECT_EQ(pairs["rows"][0]["bytes"], 2 * (150 + 200) + 4 * 12);
  EXPECT_DOUBLE_EQ(pairs["rows"][0]["peak_flops_per_s"], 2e5);
  EXPECT_DOUBLE_EQ(pairs["rows"][0]["share_of_peak"], 0.3);

  const auto floats = parsed({.flops_per_s = 1e5, .bandwidth = bandwidth});
  EXPECT_EQ(floats["peak_instruction"], "fma");
  EXPECT_DOUBLE_EQ(floats["rows"][0]["share_of_peak"], 0.6);
}

TEST(Report, Step) {
  StepReport report;
  report.images = {10, 28, 28, 1};
  report.flops = 50;
  report.ceilings = {.flops_per_s = 400};
  report.step_seconds = {.p10 = 0.2, .median = 0.25, .p90 = 0.5};
  report.mean_seconds = 0.3;
  report.times = {{"conv2d", {0.05, 0.1, 0}}, {"sgd", {0, 0, 0.03}}};

  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["benchmark"], "step");
  EXPECT_EQ(json["mode"], "training");
  EXPECT_EQ(json["optimizer"], "sgd");
  EXPECT_DOUBLE_EQ(json["images_per_second"]["p10"], 20);  // the slow steps
  EXPECT_DOUBLE_EQ(json["images_per_second"]["median"], 40);
  EXPECT_DOUBLE_EQ(json["images_per_second"]["p90"], 50);
  EXPECT_DOUBLE_EQ(json["share_of_peak"], 0.5);
  EXPECT_EQ(json["peak_instruction"], "fma");
  EXPECT_DOUBLE_EQ(json["operations"]["conv2d"]["backward_s"], 0.1);
  EXPECT_DOUBLE_EQ(json["operations"]["sgd"]["update_s"], 0.03);
  EXPECT_NEAR(json["other_s"].get<double>(), 0.12, 1e-12);

  const std::vector<StepReport> two = {report, report};
  const auto list = nlohmann::json::parse(to_json(std::span(two)));
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[1], json);

  StepReport pairs = report;
  pairs.options.precision = network::Precision::bf16;
  pairs.ceilings.bf16_flops_per_s = 800;
  const auto bf16 = nlohmann::json::parse(to_json(pairs));
  EXPECT_DOUBLE_EQ(bf16["share_of_peak"], 0.25);
  EXPECT_EQ(bf16["peak_instruction"], "vdpbf16ps");

  report.options.inference = true;
  const auto inference = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(inference["mode"], "inference");
  EXPECT_FALSE(inference.contains("optimizer"));
}

}  // namespace
}  // namespace brigade::benchmarks
