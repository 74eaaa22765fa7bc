// Tables for people, JSON for programs; the formulas stand beside the numbers.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "benchmarks.hpp"
#include "brigade/core/host_name.hpp"

namespace brigade::benchmarks {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGiga = 1e9;

std::string size_text(const Shape& images) { return fmt::format("{}x{}x{}", images[1], images[2], images[3]); }

std::string_view name_of(training::OptimizerKind kind) { return kind == training::OptimizerKind::sgd ? "sgd" : "adam"; }

Json to_json(const Quantiles& q) {
  return {{"min", q.min}, {"p10", q.p10}, {"median", q.median}, {"p90", q.p90}, {"p99", q.p99}};
}

double megabytes(std::int64_t bytes) { return static_cast<double>(bytes) * 1e-6; }

double sum(const std::array<double, kPhases>& phases) { return std::accumulate(phases.begin(), phases.end(), 0.0); }

// Kinds by falling share of the step.
std::vector<std::pair<std::string_view, std::array<double, kPhases>>> by_time(const OperationTimes& times) {
  std::vector<std::pair<std::string_view, std::array<double, kPhases>>> rows(times.begin(), times.end());
  std::ranges::stable_sort(rows, [](const auto& a, const auto& b) { return sum(a.second) > sum(b.second); });
  return rows;
}

// What the step took beyond the backend's operations: the executor, the loss on the host.
double other_seconds(const StepReport& report) {
  double seconds = report.mean_seconds;
  for (const auto& [kind, phases] : report.times) seconds -= sum(phases);
  return std::max(seconds, 0.0);
}

Json common_fields(const char* benchmark, const std::string& network, const std::string& backend, int threads,
                   const Repetitions& repetitions) {
  return {{"benchmark", benchmark}, {"host", host_name()}, {"backend", backend},
          {"threads", threads},     {"network", network},  {"repetitions", repetitions.measured}};
}

bool has_bf16_peak(const KernelReport& report) {
  return !report.ceilings.empty() && report.ceilings.front().peak_is_bf16(report.options.precision);
}

// In JSON.
std::string_view peak_instruction(bool bf16) { return bf16 ? "vdpbf16ps" : "fma"; }

// "187.2 ... 190.1 GFLOP/s (fused multiply-adds)", and which of them is the peak.
std::string arithmetic_text(const KernelReport& report) {
  const auto range = [&](auto rate) {
    const auto [slow, fast] = std::ranges::minmax(report.ceilings, {}, rate);
    return fmt::format("{:.1f} ... {:.1f} GFLOP/s", slow.*rate / kGiga, fast.*rate / kGiga);
  };
  const std::string of_floats = range(&Ceilings::flops_per_s) + " (fused multiply-adds";
  if (report.options.precision == network::Precision::fp32) return of_floats + ")";
  if (!has_bf16_peak(report)) return of_floats + " of floats, the peak: no instruction here multiplies bf16)";
  return range(&Ceilings::bf16_flops_per_s) + " (VDPBF16PS, the peak), " + of_floats + " of floats)";
}

}  // namespace

void print(const KernelReport& report) {
  const bool bf16 = report.options.precision == network::Precision::bf16;
  fmt::print("convolutions and dense layers of {} in {}, {} images; {}; median of {} repetitions\n", report.network,
             network::name_of(report.options.precision), report.options.batch, report.backend,
             report.options.repetitions.measured);
  const auto best = [](const Ceilings& c) { return c.bandwidth.best_bytes_per_s(); };
  const auto [narrow, wide] = std::ranges::minmax(report.ceilings, {}, best);
  fmt::print(
      "ceilings on {} threads, measured before and after each shape: {}, {:.1f} ... {:.1f} GB/s (the better of copy "
      "and "
      "triad); % of the better neighbour\n",
      report.threads, arithmetic_text(report), best(narrow) / kGiga, best(wide) / kGiga);
  fmt::print("GFLOP/s = 2 N OH OW K kh kw C / groups / time;  GB/s = {} / time\n\n",
             bf16 ? "(2 bytes x (size of x + y) + 4 bytes x size of w)" : "4 bytes x (size of x + w + y)");
  fmt::print("{:<40}{:>6}  {:<18}{:<14}{:>10}{:>10}{:>8}{:>9}{:>13}{:>10}\n", "shape", "count", "pass", "algorithm",
             "ms", "GFLOP/s", "% peak", "GB/s", "% bandwidth", "error");
  for (const auto& row : report.rows) {
    const bool first_of_shape = row.pass == ConvPass::forward;
    fmt::print("{:<40}{:>6}  {:<18}{:<14}{:>10.3f}{:>10.1f}{:>8.1f}{:>9.1f}{:>13.1f}{:>10.1e}\n",
               first_of_shape ? describe(row.shape) : "", first_of_shape ? std::to_string(row.shape.count) : "",
               name_of(row.pass), row.algorithm, 1e3 * row.seconds.median, row.flops_per_s() / kGiga,
               100 * row.share_of_peak(), row.bytes_per_s() / kGiga, 100 * row.share_of_bandwidth(), row.error);
  }
  fmt::print("\n{:<32}{:>22}{:>8}{:>13}{:>20}\n", "geometric means", "GFLOP/s", "% peak", "% bandwidth",
             "ms of all layers");
  for (const auto& pass : report.passes)
    fmt::print("{:<14}{:<18}{:>22.1f}{:>8.1f}{:>13.1f}{:>20.1f}\n", name_of(pass.kind), name_of(pass.pass),
               pass.flops_per_s / kGiga, 100 * pass.share_of_peak, 100 * pass.share_of_bandwidth, 1e3 * pass.seconds);
  if (bf16)
    fmt::print(
        "\nx, y and their gradients are bf16, sums, w and its gradient float; Winograd's and depthwise convolutions "
        "multiply floats in any precision.\n");
  fmt::print(
      "{}GFLOP/s count the multiplications and additions of the direct sums whatever the algorithm, as cuDNN and "
      "oneDNN do: Winograd's multiply 2.25 (2x2) to 4 times (4x4) less often, and so may pass 100 % of the peak.\n",
      bf16 ? "" : "\n");
  fmt::print(
      "error: the largest of 64 elements, in double precision, relative to the sum of the absolute values of its "
      "terms{}\n",
      bf16 ? "; that of y and dx is rounding to bf16, up to 1/256 of the sum" : "");
}

void print(const StepReport& report) {
  const auto& o = report.options;
  fmt::print("{} of {} in {}, {} images {}, {} classes, {} parameters; {}\n",
             o.inference ? "inference" : "training step", o.network, network::name_of(o.precision), o.batch,
             size_text(report.images), report.classes, report.parameters, report.backend);
  const auto& s = report.step_seconds;
  fmt::print(
      "{:.1f} images/s (median of {}; p10 {:.1f}, p90 {:.1f}); step {:.3f} ms; loss {:.4f}, same bits in two runs\n",
      report.images_per_second(s.median), o.repetitions.measured, report.images_per_second(s.p90),
      report.images_per_second(s.p10), 1e3 * s.median, report.loss);
  fmt::print(
      "{:.1f} GFLOP/s = {:.1f} % of {:.1f} ({} on {} threads, measured now); {:.3f} GFLOP a step in convolutions and "
      "dense layers\n",
      report.flops_per_s() / kGiga, 100 * report.share_of_peak(), report.peak_flops_per_s() / kGiga,
      report.ceilings.peak_is_bf16(o.precision) ? "VDPBF16PS" : "fused multiply-adds", report.threads,
      report.flops / kGiga);
  if (o.inference)
    fmt::print("latency {:.3f} ms (p50), {:.3f} (p90), {:.3f} (p99)\n", 1e3 * s.median, 1e3 * s.p90, 1e3 * s.p99);
  fmt::print("arena {:.1f} MB; peak resident {:.1f} MB, {:.1f} more than before the network was built\n\n",
             megabytes(report.arena_bytes), megabytes(report.peak_rss_bytes), megabytes(report.added_rss_bytes));

  fmt::print("{:<24}{:>12}{:>12}{:>12}{:>12}{:>9}\n", "ms of the mean step", "forward", "backward", "update", "sum",
             "%");
  for (const auto& [kind, phases] : by_time(report.times))
    fmt::print("{:<24}{:>12.3f}{:>12.3f}{:>12.3f}{:>12.3f}{:>9.1f}\n", kind, 1e3 * phases[0], 1e3 * phases[1],
               1e3 * phases[2], 1e3 * sum(phases), 100 * sum(phases) / report.mean_seconds);
  fmt::print("{:<24}{:>48.3f}{:>9.1f}\n", "other", 1e3 * other_seconds(report),
             100 * other_seconds(report) / report.mean_seconds);
}

void print_table(std::span<const StepReport> reports) {
  fmt::print("\n{:<22}{:>8}{:>12}{:>12}{:>12}{:>12}{:>8}{:>12}\n", "network", "images", "images/s", "ms (p50)",
             "ms (p90)", "ms (p99)", "% peak", "added MB");
  for (const auto& report : reports) {
    const auto& s = report.step_seconds;
    fmt::print("{:<22}{:>8}{:>12.2f}{:>12.3f}{:>12.3f}{:>12.3f}{:>8.1f}{:>12.1f}\n", report.options.network,
               report.images[0], report.images_per_second(s.median), 1e3 * s.median, 1e3 * s.p90, 1e3 * s.p99,
               100 * report.share_of_peak(), megabytes(report.added_rss_bytes));
  }
}

std::string to_json(const KernelReport& report) {
  Json json = common_fields("kernels", report.network, report.backend, report.threads, report.options.repetitions);
  const network::Precision precision = report.options.precision;
  json["batch_size"] = report.options.batch;
  json["precision"] = network::name_of(precision);
  json["peak_instruction"] = peak_instruction(has_bf16_peak(report));
  json["ceilings"] = Json::array();
  for (const Ceilings& c : report.ceilings)
    json["ceilings"].push_back({{"peak_flops_per_s", c.peak_flops_per_s(precision)},
                                {"fma_flops_per_s", c.flops_per_s},
                                {"copy_bytes_per_s", c.bandwidth.copy_bytes_per_s},
                                {"triad_bytes_per_s", c.bandwidth.triad_bytes_per_s}});
  json["rows"] = Json::array();
  for (const auto& row : report.rows) {
    const auto& c = row.shape.conv;
    json["rows"].push_back({{"shape", describe(row.shape)},
                            {"kind", name_of(row.shape.kind)},
                            {"count", row.shape.count},
                            {"pass", name_of(row.pass)},
                            {"algorithm", row.algorithm},
                            {"error", row.error},
                            {"x", {row.shape.x[0], row.shape.x[1], row.shape.x[2], row.shape.x[3]}},
                            {"w", {c.kernel_h, c.kernel_w, c.in_channels / c.groups, c.out_channels}},
                            {"groups", c.groups},
                            {"stride", {c.stride_h, c.stride_w}},
                            {"padding", {c.pad_top, c.pad_left, c.pad_bottom, c.pad_right}},
                            {"seconds", to_json(row.seconds)},
                            {"flops", c.flops(row.shape.x)},
                            {"bytes", row.bytes()},
                            {"flops_per_s", row.flops_per_s()},
                            {"peak_flops_per_s", row.peak_flops_per_s()},
                            {"share_of_peak", row.share_of_peak()},
                            {"bytes_per_s", row.bytes_per_s()},
                            {"peak_bytes_per_s", row.ceilings.bandwidth.best_bytes_per_s()},
                            {"share_of_bandwidth", row.share_of_bandwidth()}});
  }
  for (const auto& pass : report.passes)
    json["passes"][std::string(name_of(pass.kind))][std::string(name_of(pass.pass))] = {
        {"geometric_mean_flops_per_s", pass.flops_per_s},
        {"geometric_mean_share_of_peak", pass.share_of_peak},
        {"geometric_mean_share_of_bandwidth", pass.share_of_bandwidth},
        {"all_layers_s", pass.seconds}};
  return json.dump(2) + "\n";
}

namespace {

Json step_fields(const StepReport& report) {
  const auto& o = report.options;
  const auto& s = report.step_seconds;
  Json json = common_fields("step", o.network, report.backend, report.threads, o.repetitions);
  json["mode"] = o.inference ? "inference" : "training";
  json["precision"] = network::name_of(o.precision);
  if (!o.inference) json["optimizer"] = name_of(o.optimizer);
  json["images"] = {report.images[0], report.images[1], report.images[2], report.images[3]};
  json["classes"] = report.classes;
  json["parameters"] = report.parameters;
  json["images_per_second"] = {{"p10", report.images_per_second(s.p90)},
                               {"median", report.images_per_second(s.median)},
                               {"p90", report.images_per_second(s.p10)}};
  json["step_s"] = to_json(s);
  json["loss"] = report.loss;
  json["flops"] = report.flops;
  json["flops_per_s"] = report.flops_per_s();
  json["peak_instruction"] = peak_instruction(report.ceilings.peak_is_bf16(o.precision));
  json["peak_flops_per_s"] = report.peak_flops_per_s();
  json["share_of_peak"] = report.share_of_peak();
  json["arena_bytes"] = report.arena_bytes;
  json["peak_rss_bytes"] = report.peak_rss_bytes;
  json["added_rss_bytes"] = report.added_rss_bytes;
  json["mean_step_s"] = report.mean_seconds;
  for (const auto& [kind, phases] : by_time(report.times))
    json["operations"][std::string(kind)] = {
        {"forward_s", phases[0]}, {"backward_s", phases[1]}, {"update_s", phases[2]}};
  json["other_s"] = other_seconds(report);
  return json;
}

}  // namespace

std::string to_json(const StepReport& report) { return step_fields(report).dump(2) + "\n"; }

std::string to_json(std::span<const StepReport> reports) {
  Json list = Json::array();
  for (const auto& report : reports) list.push_back(step_fields(report));
  return list.dump(2) + "\n";
}

std::string to_json(const AugmentReport& report) {
  const auto size = [](const Shape& images) { return Json{{"height", images[1]}, {"width", images[2]}}; };
  const Json json = {{"benchmark", "augment"},
                     {"host", host_name()},
                     {"dataset", report.options.dataset},
                     {"augment", dataset::to_string(report.options.augmentation)},
                     {"batch_images", report.options.batch},
                     {"stored", size(report.stored)},
                     {"made", size(report.made)},
                     {"repetitions", report.options.repetitions.measured},
                     {"read_s", to_json(report.read)},
                     {"read_normalise_s", to_json(report.plain)},
                     {"read_augment_normalise_s", to_json(report.augmented)}};
  return json.dump(1) + "\n";
}

}  // namespace brigade::benchmarks
