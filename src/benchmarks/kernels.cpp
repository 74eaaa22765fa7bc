// Convolutions one at a time, on noise. A repetition is as many calls as fill some milliseconds, and
// between shapes nothing is kept, so small shapes are measured with warm caches and large ones without.
#include <algorithm>
#include <cmath>

#include "benchmarks.hpp"
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
struct Tensor {
  Tensor(ops::Backend& backend, const Shape& shape, std::vector<float> values)
      : host(std::move(values)), memory(backend.memory(), host.size() * sizeof(float)), view(memory.data(), shape) {
    backend.upload(host.data(), memory.data(), memory.bytes());
    backend.synchronize();
  }
  std::vector<float> host;
  Buffer memory;
  TensorView view;
};

class ConvBenchmark {
 public:
  ConvBenchmark(ops::Backend& backend, const ConvCase& shape)
      : backend_(backend),
        case_(shape),
        x_(backend, shape.x, noise(shape.x.size(), 0)),
        w_(backend, shape.conv.weight_shape(), noise(shape.conv.weight_shape().size(), 1)),
        dy_(backend, output_shape(), noise(output_shape().size(), 2)),
        result_(backend.memory(),
                sizeof(float) * static_cast<std::size_t>(
                                    std::max({x_.view.shape.size(), w_.view.shape.size(), dy_.view.shape.size()}))) {}

  KernelRow measure(ConvPass pass, const Repetitions& repetitions) {
    call(pass);
    check(pass);
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
    return {.shape = case_, .pass = pass, .seconds = quantiles(seconds)};
  }

 private:
  Shape output_shape() const { return case_.conv.output_shape(case_.x); }

  TensorView result(ConvPass pass) const {
    switch (pass) {
      case ConvPass::forward: return {result_.data(), dy_.view.shape};
      case ConvPass::backward_data: return {result_.data(), x_.view.shape};
      case ConvPass::backward_weights: break;
    }
    return {result_.data(), w_.view.shape};
  }

  void call(ConvPass pass) {
    if (pass == ConvPass::forward) {
      backend_.forward(case_.conv, {.x = x_.view, .w = w_.view, .bias = {}, .y = result(pass)});
    } else {
      const bool data = pass == ConvPass::backward_data;
      backend_.backward(case_.conv, {.x = x_.view,
                                     .w = w_.view,
                                     .y = {},  // not read without an activation
                                     .dy = dy_.view,
                                     .dx = data ? result(pass) : TensorView{},
                                     .dw = data ? TensorView{} : result(pass),
                                     .dbias = {}});
    }
    backend_.synchronize();
  }

  void check(ConvPass pass) {
    std::vector<float> got(static_cast<std::size_t>(result(pass).shape.size()));
    backend_.download(result_.data(), got.data(), got.size() * sizeof(float));
    backend_.synchronize();
    check_elements(case_, pass, x_.host, w_.host, dy_.host, got);
    backend_.upload(dy_.host.data(), dy_.memory.data(), dy_.memory.bytes());  // backward may have used it up
    backend_.synchronize();
  }

  ops::Backend& backend_;
  const ConvCase case_;
  Tensor x_, w_, dy_;
  Buffer result_;
};

PassSummary summarise(ConvPass pass, const std::vector<KernelRow>& rows) {
  PassSummary summary{.pass = pass};
  std::vector<double> rates;
  for (const auto& row : rows)
    if (row.pass == pass) {
      rates.push_back(row.flops_per_s());
      summary.seconds += row.shape.count * row.seconds.median;
    }
  summary.flops_per_s = geometric_mean(rates);
  return summary;
}

}  // namespace

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

  report.peak_flops_per_s = measure_fma_flops_per_s(report.threads);
  report.bandwidth = measure_bandwidth(report.threads);
  constexpr ConvPass kPassesOfConv[] = {ConvPass::forward, ConvPass::backward_data, ConvPass::backward_weights};
  for (const ConvCase& shape : cases) {
    ConvBenchmark benchmark(backend, shape);
    for (const ConvPass pass : kPassesOfConv)
      if (pass != ConvPass::backward_data || shape.data_gradient)
        report.rows.push_back(benchmark.measure(pass, options.repetitions));
  }
  for (const ConvPass pass : kPassesOfConv) report.passes.push_back(summarise(pass, report.rows));
  return report;
}

}  // namespace brigade::benchmarks
