// What `brigade bench` measures. Each benchmark checks its answer before it reports a time, and compares with what
// the same processors did in the same minute (ceilings.hpp). For cli only.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "brigade/dataset/augment.hpp"
#include "brigade/network/graph.hpp"
#include "brigade/network/passes.hpp"
#include "brigade/ops/backend.hpp"
#include "brigade/training/optimizer.hpp"
#include "ceilings.hpp"
#include "conv_cases.hpp"
#include "statistics.hpp"
#include "timing_backend.hpp"

namespace brigade::benchmarks {

struct Repetitions {
  int warmup = 2;     // not counted
  int measured = 20;  // of which median and quantiles are taken
};

// ---- convolutions

struct KernelOptions {
  std::string network = {};  // its layers; empty: the table of ResNet-50
  std::int64_t batch = 16;
  std::int64_t image_size = 0;  // of the network; 0: its usual
  network::Precision precision = network::Precision::fp32;
  Repetitions repetitions = {.warmup = 1, .measured = 7};
};

struct KernelRow {
  ConvCase shape;
  ConvPass pass = ConvPass::forward;
  network::Precision precision = network::Precision::fp32;
  std::string algorithm = {};  // of the backend, if it tells
  double error = 0;            // the largest of some elements, relative to the sum of their terms' absolute values
  Quantiles seconds;           // of one call
  Ceilings ceilings = {};      // measured next to it

  double flops_per_s() const { return shape.conv.flops(shape.x) / seconds.median; }
  double bytes() const { return least_bytes(shape, precision); }
  double bytes_per_s() const { return bytes() / seconds.median; }
  double peak_flops_per_s() const { return ceilings.peak_flops_per_s(precision); }
  double share_of_peak() const { return flops_per_s() / peak_flops_per_s(); }
  double share_of_bandwidth() const { return bytes_per_s() / ceilings.bandwidth.best_bytes_per_s(); }
};

// All rows of one pass of one kind: geometric means over shapes.
struct PassSummary {
  ConvKind kind = ConvKind::convolution;
  ConvPass pass = ConvPass::forward;
  double flops_per_s = 0, share_of_peak = 0, share_of_bandwidth = 0;
  double seconds = 0;  // of all layers, each shape counted as often as the network has it
};

struct KernelReport {
  KernelOptions options;
  std::string network, backend;
  int threads = 1;
  std::vector<Ceilings> ceilings = {};  // in the order of time
  std::vector<KernelRow> rows = {};
  std::vector<PassSummary> passes = {};
};

// The three passes of each convolution, depthwise one and dense layer (the gradient of the image is left out).
KernelReport measure_kernels(ops::Backend& backend, const KernelOptions& options);
// Those of one shape, without ceilings. Throws std::runtime_error if an answer is wrong.
std::vector<KernelRow> measure_passes(ops::Backend& backend, const ConvCase& shape, network::Precision precision,
                                      const Repetitions& repetitions);

// ---- the whole step of one rank

struct StepOptions {
  std::string network = "fashion-cnn";
  std::int64_t batch = 64;
  std::int64_t image_size = 0, classes = 0;  // 0: the network's usual
  bool inference = false;                    // forward only, as in evaluation
  training::OptimizerKind optimizer = training::OptimizerKind::sgd;
  network::Passes passes = {};
  network::Precision precision = network::Precision::fp32;
  Repetitions repetitions = {};
};

struct StepReport {
  StepOptions options;
  std::string backend;
  Shape images;  // [N, H, W, C]
  int threads = 1;
  std::int64_t classes = 0, parameters = 0;
  double flops = 0;        // of convolutions and dense layers in one step
  Ceilings ceilings = {};  // of arithmetic, measured after the steps
  std::int64_t arena_bytes = 0;
  std::int64_t peak_rss_bytes = 0;   // of the process while it ran the steps
  std::int64_t added_rss_bytes = 0;  // by how much that exceeds what was resident before the network was built
  float loss = 0;                    // of the last step
  Quantiles step_seconds = {};       // p90 is the slow end
  OperationTimes times = {};         // seconds of the mean step, by kind of operation and phase
  double mean_seconds = 0;

  double images_per_second(double seconds) const { return static_cast<double>(images[0]) / seconds; }
  double flops_per_s() const { return flops / step_seconds.median; }
  double peak_flops_per_s() const { return ceilings.peak_flops_per_s(options.precision); }
  double share_of_peak() const { return flops_per_s() / peak_flops_per_s(); }
};

// Multiplications and additions of convolutions and dense layers in a step on `batch` images: the forward
// pass once; in training the gradients of the weights and, behind the first layer with weights, of the
// data, each as much again.
double step_flops(const network::Graph& graph, std::int64_t batch, bool training);

// Forward, backward and optimizer on synthetic images that are in memory already.
StepReport measure_step(ops::Backend& backend, const StepOptions& options);

// Peak and present resident memory of this process, in bytes, from /proc/self/status; 0 where there is none.
std::int64_t peak_rss_bytes();
std::int64_t resident_bytes();

// ---- augmentation

struct AugmentOptions {
  std::filesystem::path dataset = {};  // a directory; empty: noise in memory
  std::int64_t image_size = 64;        // of that noise
  std::int64_t crop_size = 0;          // of the pictures made; 0: as stored
  std::int64_t batch = 64;
  dataset::Augmentation augmentation = {};
  Repetitions repetitions = {};
};

struct AugmentReport {
  AugmentOptions options;
  Shape stored = {}, made = {};                     // [N, H, W, C]
  Quantiles read = {}, plain = {}, augmented = {};  // seconds a batch, by one thread
};

AugmentReport measure_augmentation(const AugmentOptions& options);

// ---- reports

void print(const KernelReport& report);
void print(const StepReport& report);
void print(const AugmentReport& report);
// A line a network, after their own reports.
void print_table(std::span<const StepReport> reports);
// JSON, indented; the units are in the names of the fields. Of several steps: a list.
std::string to_json(const KernelReport& report);
std::string to_json(const StepReport& report);
std::string to_json(std::span<const StepReport> reports);
std::string to_json(const AugmentReport& report);

}  // namespace brigade::benchmarks
