// Convolutions one at a time, on noise, and between them what the machine can do. A repetition is as many calls as fill
// some milliseconds, and between shapes nothing is kept, so small shapes are measured with warm caches and large ones
// without.
#include <algorithm>
#include <cmath>

#include "benchmarks.hpp"
#include "brigade/core/bf16.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/random.hpp"
#include "brigade/network/zoo.hpp"
#include "conv_oracle.hpp"

namespace brigade::benchmarks {
namespace {

constexpr double kRepetitionSeconds = 5e-3;

// Uniform in [-1, 1).
std::vector<float> noise(std::int64_t size, std::uint32_t stream) {
  std::vector<float> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); i += 4) {
    const PhiloxBlock draws = random_block({.seed = 1, .purpose = Purpose::synthetic_data, .stream = stream}, i / 4);
    for (std::size_t j = 0; j < 4 && i + j < values.size(); ++j) values[i + j] = 2 * to_uniform(draws[j]) - 1;
  }
  return values;
}

// One tensor on the host and on the backend.
class Tensor {
 public:
  // Of values that the precision has: weights stay float but are rounded as they are packed, which so changes nothing.
  Tensor(ops::Backend& backend, const Shape& shape, std::vector<float> values, DType type, network::Precision precision)
      : host(std::move(values)),
        memory(backend.memory(), host.size() * size_of(type)),
        view(memory.data(), shape, type) {
    if (precision == network::Precision::bf16)
      for (float& value : host) value = static_cast<float>(Bf16(value));
    upload(backend);
  }
  void upload(ops::Backend& backend) {
    if (view.dtype == DType::bf16) {
      const std::vector<Bf16> rounded(host.begin(), host.end());
      backend.upload(rounded.data(), memory.data(), memory.bytes());
      backend.synchronize();
    } else {
      backend.upload(host.data(), memory.data(), memory.bytes());
      backend.synchronize();
    }
  }

  std::vector<float> host;
  Buffer memory;
  TensorView view;
};

std::vector<float> download(ops::Backend& backend, const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.shape.size()));
  if (view.dtype == DType::bf16) {
    std::vector<Bf16> stored(values.size());
    backend.download(view.data, stored.data(), view.bytes());
    backend.synchronize();
    std::ranges::transform(stored, values.begin(), [](Bf16 value) { return static_cast<float>(value); });
  } else {
    backend.download(view.data, values.data(), view.bytes());
    backend.synchronize();
  }
  return values;
}

class ConvBenchmark {
 public:
  ConvBenchmark(ops::Backend& backend, const ConvCase& shape, network::Precision precision)
      : backend_(backend),
        case_(shape),
        precision_(precision),
        x_(noise_on(shape.x, 0, activation_type(precision))),
        w_(noise_on(shape.conv.weight_shape(), 1, DType::f32)),
        dy_(noise_on(output_shape(), 2, activation_type(precision))),
        result_(backend.memory(),
                sizeof(float) * static_cast<std::size_t>(
                                    std::max({x_.view.shape.size(), w_.view.shape.size(), dy_.view.shape.size()}))) {}

  KernelRow measure(ConvPass pass, const Repetitions& repetitions) {
    call(pass);
    const double error = check(pass);
    Stopwatch watch;
    call(pass);
    const double estimate = std::max(watch.elapsed(), 1e-9);
    const auto calls = static_cast<int>(std::clamp(std::ceil(kRepetitionSeconds / estimate), 1.0, 1e5));
    std::vector<double> seconds;
    for (int r = -repetitions.warmup; r < repetitions.measured; ++r) {
      watch.lap();
      for (int i = 0; i < calls; ++i) call(pass);
      const double lap = watch.lap() / calls;
      if (r >= 0) seconds.push_back(lap);
    }
    return {.shape = case_,
            .pass = pass,
            .precision = precision_,
            .algorithm = algorithm(pass),
            .error = error,
            .seconds = quantiles(seconds)};
  }

 private:
  Tensor noise_on(const Shape& shape, std::uint32_t stream, DType type) const {
    return {backend_, shape, noise(shape.size(), stream), type, precision_};
  }
  Shape output_shape() const { return case_.conv.output_shape(case_.x); }

  std::string algorithm(ConvPass pass) const {
    if (case_.kind != ConvKind::convolution) return "";
    return backend_.algorithm(case_.conv, case_.x, activation_type(precision_), pass);
  }

  TensorView result(ConvPass pass) const {
    const DType type = result_type(pass, precision_);
    switch (pass) {
      case ConvPass::forward: return {result_.data(), dy_.view.shape, type};
      case ConvPass::backward_data: return {result_.data(), x_.view.shape, type};
      case ConvPass::backward_weights: break;
    }
    return {result_.data(), w_.view.shape, type};
  }

  void call(ConvPass pass) {
    const auto& c = case_.conv;
    switch (case_.kind) {
      case ConvKind::convolution: call(c, pass, x_.view, w_.view, dy_.view, result(pass)); break;
      case ConvKind::depthwise: {
        const ops::DepthwiseConv2d op{.channels = c.in_channels,
                                      .kernel_h = c.kernel_h,
                                      .kernel_w = c.kernel_w,
                                      .stride_h = c.stride_h,
                                      .stride_w = c.stride_w,
                                      .pad_top = c.pad_top,
                                      .pad_left = c.pad_left,
                                      .pad_bottom = c.pad_bottom,
                                      .pad_right = c.pad_right};
        const bool weights = pass == ConvPass::backward_weights;
        call(op, pass, x_.view, {w_.view.data, op.weight_shape()}, dy_.view,
             weights ? TensorView(result_.data(), op.weight_shape()) : result(pass));
        break;
      }
      case ConvKind::dense: {
        const ops::Dense op{.in_features = c.in_channels, .out_features = c.out_channels};
        const auto matrix = [](const TensorView& view) {
          return TensorView(view.data, {view.shape.size() / view.shape.back(), view.shape.back()}, view.dtype);
        };
        call(op, pass, matrix(x_.view), matrix(w_.view), matrix(dy_.view), matrix(result(pass)));
      }
    }
    backend_.synchronize();
  }

  template <class Operation>
  void call(const Operation& op, ConvPass pass, const TensorView& x, const TensorView& w, const TensorView& dy,
            const TensorView& out) {
    if (pass == ConvPass::forward) {
      backend_.forward(op, {.x = x, .w = w, .bias = {}, .y = out});
      return;
    }
    const bool data = pass == ConvPass::backward_data;
    backend_.backward(op, {.x = x,
                           .w = w,
                           .y = {},  // not read without an activation
                           .dy = dy,
                           .dx = data ? out : TensorView{},
                           .dw = data ? TensorView{} : out,
                           .dbias = {}});
  }

  double check(ConvPass pass) {
    const double error = check_elements(case_, pass, x_.host, w_.host, dy_.host, download(backend_, result(pass)),
                                        result_type(pass, precision_));
    dy_.upload(backend_);  // backward may have used it up
    return error;
  }

  ops::Backend& backend_;
  const ConvCase case_;
  const network::Precision precision_;
  Tensor x_, w_, dy_;
  Buffer result_;
};

PassSummary summarise(ConvKind kind, ConvPass pass, const std::vector<KernelRow>& rows) {
  PassSummary summary{.kind = kind, .pass = pass};
  std::vector<double> rates, shares_of_peak, shares_of_bandwidth;
  for (const auto& row : rows)
    if (row.shape.kind == kind && row.pass == pass) {
      rates.push_back(row.flops_per_s());
      shares_of_peak.push_back(row.share_of_peak());
      shares_of_bandwidth.push_back(row.share_of_bandwidth());
      summary.seconds += row.shape.count * row.seconds.median;
    }
  summary.flops_per_s = geometric_mean(rates);
  summary.share_of_peak = geometric_mean(shares_of_peak);
  summary.share_of_bandwidth = geometric_mean(shares_of_bandwidth);
  return summary;
}

constexpr ConvPass kPassesOfConv[] = {ConvPass::forward, ConvPass::backward_data, ConvPass::backward_weights};

}  // namespace

std::vector<KernelRow> measure_passes(ops::Backend& backend, const ConvCase& shape, network::Precision precision,
                                      const Repetitions& repetitions) {
  ConvBenchmark benchmark(backend, shape, precision);
  std::vector<KernelRow> rows;
  for (const ConvPass pass : kPassesOfConv)
    if (pass != ConvPass::backward_data || shape.data_gradient) rows.push_back(benchmark.measure(pass, repetitions));
  return rows;
}

KernelReport measure_kernels(ops::Backend& backend, const KernelOptions& options) {
  std::vector<ConvCase> cases;
  KernelReport report{.options = options,
                      .network = options.network.empty() ? "ResNet-50" : options.network,
                      .backend = backend.description(),
                      .threads = backend.threads()};
  if (options.network.empty())
    cases = resnet50_convolutions(options.batch);
  else
    cases = convolutions_of(
        network::make_network(options.network, {.height = options.image_size, .width = options.image_size}),
        options.batch);

  constexpr ConvKind kKinds[] = {ConvKind::convolution, ConvKind::depthwise, ConvKind::dense};
  report.ceilings.push_back(measure_ceilings(report.threads, Probe::thorough, options.precision));
  for (const ConvCase& shape : cases) {
    auto rows = measure_passes(backend, shape, options.precision, options.repetitions);
    const Ceilings before = report.ceilings.back();
    report.ceilings.push_back(measure_ceilings(report.threads, Probe::quick, options.precision));
    for (KernelRow& row : rows) {
      row.ceilings = better_of(before, report.ceilings.back());
      report.rows.push_back(std::move(row));
    }
  }
  for (const ConvKind kind : kKinds)
    for (const ConvPass pass : kPassesOfConv)
      if (const PassSummary summary = summarise(kind, pass, report.rows); summary.seconds > 0)
        report.passes.push_back(summary);
  return report;
}

}  // namespace brigade::benchmarks
