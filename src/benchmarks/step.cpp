// The step of training/step.cpp without data, communication and logs: forward, backward, optimizer. Two
// executors with the same seed must give the same losses, bit for bit, before a time is reported.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "benchmarks.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/random.hpp"
#include "brigade/network/executor.hpp"
#include "brigade/network/zoo.hpp"

namespace brigade::benchmarks {
namespace {

constexpr int kCheckedSteps = 2;  // the second one sees weights the first one updated
constexpr int kBatches = 4;       // different ones, so that no batch lives in a cache

struct Batch {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
};

std::vector<Batch> synthetic_batches(const Shape& images, std::int64_t classes) {
  std::vector<Batch> batches(kBatches);
  for (std::uint32_t b = 0; b < kBatches; ++b) {
    const auto draw = [b](std::uint32_t stream, std::size_t i) {
      return random_u32({.seed = 1, .purpose = Purpose::synthetic_data, .stream = stream, .position = b}, i);
    };
    batches[b].images.resize(static_cast<std::size_t>(images.size()));
    batches[b].labels.resize(static_cast<std::size_t>(images[0]));
    for (std::size_t i = 0; i < batches[b].images.size(); ++i) batches[b].images[i] = 2 * to_uniform(draw(0, i)) - 1;
    for (std::size_t i = 0; i < batches[b].labels.size(); ++i)
      batches[b].labels[i] = static_cast<std::int32_t>(draw(1, i) % static_cast<std::uint64_t>(classes));
  }
  return batches;
}

// A network with its optimizer, from the same beginning each time.
class Trainee {
 public:
  Trainee(const network::Graph& graph, TimingBackend& backend, const StepOptions& options)
      : options_(options),
        backend_(backend),
        executor_(graph, backend,
                  {.max_batch = options.batch,
                   .training = !options.inference,
                   .passes = options.passes,
                   .precision = options.precision}) {
    // A rate that keeps every network finite on noise.
    if (!options.inference)
      optimizer_.emplace(training::OptimizerOptions{.kind = options.optimizer, .learning_rate = kRate},
                         executor_.parameters(), backend);
  }

  // The mean loss.
  float step(const Batch& batch, std::int64_t number) {
    const network::MicroBatch micro{
        .images = batch.images.data(), .labels = batch.labels.data(), .n = options_.batch, .step = number};
    backend_.enter(Phase::forward);
    if (options_.inference) {
      executor_.evaluate(micro);
    } else {
      executor_.forward(micro);
      backend_.enter(Phase::backward);
      executor_.backward(1.0F / static_cast<float>(options_.batch), {});
      backend_.enter(Phase::update);
      const TensorView all = executor_.reduction();
      const std::int64_t begin = executor_.gradients_offset();
      optimizer_->apply(TensorView(all.f32() + begin, Shape{all.shape.size() - begin}), executor_.weights(), number,
                        kRate);
    }
    const auto losses = executor_.loss();
    return std::accumulate(losses.begin(), losses.end(), 0.0F) / static_cast<float>(losses.size());
  }

  std::int64_t arena_bytes() const { return executor_.arena_bytes(); }

 private:
  static constexpr float kRate = 1e-4F;
  const StepOptions options_;
  TimingBackend& backend_;
  network::Executor executor_;
  std::optional<training::Optimizer> optimizer_;
};

void check_finite(float loss, const std::string& network, std::int64_t step) {
  require<std::runtime_error>(std::isfinite(loss),
                              "the loss of {} in step {} is {} (on bounded noise it is finite). "
                              "Run the tests of network?",
                              network, step, loss);
}

// "VmHWM:     1234 kB" of /proc/self/status, in bytes.
std::int64_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return std::strtoll(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
  return 0;
}

// Peak memory is counted from here, so that it is not that of an earlier network. Where Linux does not allow it, the
// peak stays that of the process.
void restart_peak_rss() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace

std::int64_t peak_rss_bytes() { return status_bytes("VmHWM"); }
std::int64_t resident_bytes() { return status_bytes("VmRSS"); }

double step_flops(const network::Graph& graph, std::int64_t batch, bool training) {
  double flops = 0;
  std::vector<bool> learns;  // by node: it or one before it has weights, so its gradient is needed
  for (const auto& node : graph.nodes) {
    const bool data_gradient =
        std::ranges::any_of(node.inputs, [&](network::NodeId i) { return learns[static_cast<std::size_t>(i)]; });
    const double forward = network::forward_flops(graph, node);
    flops += forward * (training ? (data_gradient ? 3 : 2) : 1);
    learns.push_back(data_gradient || network::parameter_count(node) > 0);
  }
  return flops * static_cast<double>(batch);
}

StepReport measure_step(ops::Backend& backend, const StepOptions& options) {
  const network::Graph graph = network::make_network(
      options.network, {.height = options.image_size, .width = options.image_size, .classes = options.classes});
  StepReport report{.options = options,
                    .backend = backend.description(),
                    .images = graph.input().with_batch(options.batch),
                    .threads = backend.threads(),
                    .classes = graph.classes(),
                    .parameters = network::parameter_count(graph),
                    .flops = step_flops(graph, options.batch, !options.inference)};
  const auto batches = synthetic_batches(report.images, report.classes);
  const auto batch_of = [&](int step) -> const Batch& { return batches[static_cast<std::size_t>(step % kBatches)]; };

  const std::int64_t resident_before = resident_bytes();
  restart_peak_rss();

  TimingBackend timing(backend);
  std::vector<float> expected;
  {
    Trainee first(graph, timing, options);
    for (int step = 0; step < kCheckedSteps; ++step) expected.push_back(first.step(batch_of(step), step));
  }

  Trainee trainee(graph, timing, options);
  report.arena_bytes = trainee.arena_bytes();
  const int warmup = std::max(options.repetitions.warmup, kCheckedSteps);
  std::vector<double> seconds;
  for (int step = 0; step < warmup + options.repetitions.measured; ++step) {
    if (step == warmup) timing.reset();
    const Stopwatch watch;
    report.loss = trainee.step(batch_of(step), step);
    if (step >= warmup) seconds.push_back(watch.elapsed());
    check_finite(report.loss, options.network, step);
    require<std::runtime_error>(step >= kCheckedSteps || report.loss == expected[static_cast<std::size_t>(step)],
                                "two runs of {} differ in step {} (losses {} and {}, which should have the same bits). "
                                "Run the tests of network?",
                                options.network, step, expected[static_cast<std::size_t>(step)], report.loss);
  }
  report.peak_rss_bytes = peak_rss_bytes();
  report.added_rss_bytes = report.peak_rss_bytes - resident_before;
  report.step_seconds = quantiles(seconds);
  report.mean_seconds = std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
  report.times = timing.times();
  for (auto& [kind, phases] : report.times)
    for (double& phase : phases) phase /= static_cast<double>(seconds.size());
  report.ceilings = measure_arithmetic(report.threads, Probe::thorough, options.precision);
  return report;
}

}  // namespace brigade::benchmarks
