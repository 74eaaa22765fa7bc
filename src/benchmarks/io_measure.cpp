#include "io_measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/dataset/batches.hpp"
#include "page_cache.hpp"

namespace brigade::benchmarks {
namespace {

using communication::Communicator;

// Batch k of all ranks is the k-th piece of the dataset, and of a rank its own part of that piece; from the front again
// after the last whole one.
dataset::BatchPlan sequential_plan(std::int64_t samples, std::int64_t global_batch, dataset::Range share) {
  return [=](std::int64_t k, dataset::Selection& selection) {
    const std::int64_t steps = samples / global_batch;
    selection.epoch = k / steps;
    selection.own = {0, share.size()};
    selection.indices.clear();
    for (std::int64_t i = share.begin; i < share.end; ++i) selection.indices.push_back(k % steps * global_batch + i);
    return true;
  };
}

// The batches of this rank, and an end.
dataset::BatchPlan plan_of(const Communicator& communicator, const IoOptions& options, const IoPoint& point) {
  const std::int64_t own = point.batch_size, first = communicator.rank() * own, global = own * communicator.size();
  auto plan = point.order == Order::sequential
                  ? sequential_plan(point.dataset_images, global, {first, first + own})
                  : dataset::training_plan(point.dataset_images, global, {first, first + own}, options.seed,
                                           options.augmentation.mixup > 0);
  return [batches = point.batches, plan = std::move(plan)](std::int64_t k, dataset::Selection& selection) {
    return k < batches && plan(k, selection);
  };
}

// Batches, however they are made.
class Batches {
 public:
  virtual ~Batches() = default;
  virtual std::int64_t next() = 0;  // images of the next batch
  virtual dataset::StreamWork work() const = 0;
};

class PixelBatches final : public Batches {
 public:
  PixelBatches(std::unique_ptr<dataset::SplitReader> reader, dataset::BatchPlan plan)
      : reader_(std::move(reader)), plan_(std::move(plan)) {}
  std::int64_t next() override {
    if (!plan_(number_++, selection_)) return 0;
    const std::size_t count = selection_.indices.size();
    pixels_.resize(count * static_cast<std::size_t>(reader_->image().size()));
    labels_.resize(count);
    reader_->read(selection_.indices, pixels_.data(), labels_.data());
    return selection_.own.size();
  }
  dataset::StreamWork work() const override { return {.read = reader_->work()}; }

 private:
  std::unique_ptr<dataset::SplitReader> reader_;
  dataset::BatchPlan plan_;
  std::int64_t number_ = 0;
  dataset::Selection selection_;
  std::vector<std::uint8_t> pixels_;
  std::vector<std::int32_t> labels_;
};

class TrainingBatches final : public Batches {
 public:
  TrainingBatches(std::vector<std::unique_ptr<dataset::SplitReader>> readers, dataset::BatchPlan plan,
                  const dataset::StreamOptions& options)
      : stream_(std::move(readers), std::move(plan), options) {}
  std::int64_t next() override {
    const dataset::Batch* batch = stream_.next();
    return batch == nullptr ? 0 : static_cast<std::int64_t>(batch->labels.size());
  }
  dataset::StreamWork work() const override { return stream_.work(); }

 private:
  dataset::BatchStream stream_;
};

std::unique_ptr<Batches> batches_of(std::vector<std::unique_ptr<dataset::SplitReader>> readers, dataset::BatchPlan plan,
                                    const IoData& data, const IoOptions& options) {
  if (options.pipeline == Pipeline::read)
    return std::make_unique<PixelBatches>(std::move(readers.front()), std::move(plan));
  return std::make_unique<TrainingBatches>(std::move(readers), std::move(plan),
                                           dataset::StreamOptions{.prefetch = options.prefetch,
                                                                  .mean = data.manifest().mean,
                                                                  .stddev = data.manifest().stddev,
                                                                  .augmentation = options.augmentation,
                                                                  .seed = options.seed,
                                                                  .height = options.crop_size,
                                                                  .width = options.crop_size});
}

// One rank of a node does it for all.
double prepare_cache(Communicator& communicator, const IoData& data, const IoPoint& point) {
  const auto& files = data.files(point.format);
  double share = 0;
  collectively(communicator, "preparing the page cache", [&] {
    if (communicator.node_rank() != 0) return;
    if (point.cache == Cache::cold) drop_page_cache(files);
    share = resident_share(files);
    if (point.cache == Cache::cold || share == 1) return;
    fill_page_cache(files);
    share = resident_share(files);
  });
  communicator.barrier("preparing the page cache");
  return share;
}

// As a training step computes: every rank waits for the others' batches first, as it would in the sum of gradients.
void compute(Communicator& communicator, double seconds) {
  if (communicator.size() > 1) communicator.barrier("the emulated step");
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

void read_batches(Communicator& communicator, Batches& batches, const IoTask& task, double compute_s,
                  RankMeasurement& row) {
  IoMeasurement& measured = row.measured;
  const Stopwatch whole;
  const std::int64_t pass = task.point.dataset_images / (task.point.batch_size * communicator.size());
  double second_step_s = 0;
  for (std::int64_t i = 0; i < task.point.batches; ++i) {
    Stopwatch watch;
    const std::int64_t images = batches.next();
    row.batch_s.push_back(watch.elapsed());
    require(images > 0, "the batches ended after {} of {}", i, task.point.batches);
    measured.images += images;
    measured.wait_s += row.batch_s.back();
    if (compute_s > 0) compute(communicator, compute_s);
    if (i == 0) second_step_s = whole.elapsed();
    if (i + 1 == pass) measured.first_pass_s = whole.elapsed();
  }
  measured.seconds = whole.elapsed();
  if (measured.first_pass_s == 0) measured.first_pass_s = measured.seconds;
  if (compute_s == 0) return;
  measured.compute_s = compute_s * static_cast<double>(task.point.batches);
  measured.utilisation = compute_s * static_cast<double>(task.point.batches - 1) / (measured.seconds - second_step_s);
}

}  // namespace

RankMeasurement measure(Communicator& communicator, const IoData& data, const IoOptions& options, const IoTask& task,
                        double benchmark_start_s) {
  RankMeasurement row;
  IoMeasurement& measured = row.measured;
  measured.resident_before = prepare_cache(communicator, data, task.point);
  measured.start_s = now_s() - benchmark_start_s;
  row.process_before = telemetry::read_system_counters();
  row.node_before = telemetry::read_node_counters();
  const int threads = options.pipeline == Pipeline::read ? 1 : options.data_threads;
  const Stopwatch opening;
  auto opened = data.open(communicator, task.point.format, task.reader, threads);
  measured.open_s = opening.elapsed();
  measured.mode = opened.mode;
  communicator.barrier("the start of a measurement");
  const dataset::SplitReader& reader = *opened.readers.front();  // the only one that fetches, if it is collective
  const auto batches = batches_of(std::move(opened.readers), plan_of(communicator, options, task.point), data, options);
  read_batches(communicator, *batches, task, options.compute_s, row);
  const dataset::StreamWork work = batches->work();
  measured.read_s = work.read.read_s;
  measured.collective_reads = reader.collective_reads();
  measured.decode_s = work.read.decode_s;
  measured.make_s = work.make_s;
  measured.stored_bytes = work.read.stored_bytes;
  measured.batch_s = quantiles(row.batch_s);
  measured.slowest_batch_s = std::ranges::max(row.batch_s);
  row.process = telemetry::read_system_counters();
  communicator.barrier("the end of a measurement");
  row.node = telemetry::read_node_counters();
  return row;
}

IoLog::IoLog(const std::filesystem::path& directory, int rank, int ranks, const IoOptions& options)
    : path_(directory / fmt::format("io-{:05}.csv", rank)) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  require(!error, "cannot make the directory {} ({})", directory.string(), error.message());
  out_.open(path_, std::ios::binary);
  out_ << "format,reader,order,cache,batch_size,batches,dataset_images,repetition,ranks,rank,pipeline,prefetch,data_"
          "threads,"
          "emulated_step_s,start_s,seconds,open_s,read_s,decode_s,augment_s,wait_data_s,compute_s,images,stored_bytes,"
          "images_per_s,stored_bytes_per_s,batch_p50_s,batch_p90_s,batch_p99_s,batch_max_s,utilisation,"
          "resident_before,reader_used,collective_calls,collective_reads,cpu_user_s,cpu_system_s,read_bytes,written_"
          "bytes,major_faults,involuntary_switches,"
          "peak_rss_bytes,node_cpu_busy_s,node_cpu_iowait_s,node_page_cache_bytes,node_disk_read_bytes,"
          "node_disk_reads,node_disk_busy_s,node_network_received_bytes,node_network_sent_bytes\n";
  fixed_ = fmt::format("{},{},{},{},{},{:.6f}", ranks, rank, name_of(options.pipeline),
                       options.pipeline == Pipeline::read ? 0 : options.prefetch,
                       options.pipeline == Pipeline::read ? 1 : options.data_threads, options.compute_s);
  require(out_.flush().good(), "cannot write {}. Is the disk full?", path_.string());
}

void IoLog::write(const IoPoint& point, std::int64_t repetition, const RankMeasurement& row) {
  if (!out_.is_open()) return;
  const IoMeasurement& m = row.measured;
  const auto &before = row.process_before, &after = row.process;
  const auto &node_before = row.node_before, &node = row.node;
  out_ << fmt::format("{},{},{},{},{},{},{},{},{},", name_of(point.format), point.reader, name_of(point.order),
                      name_of(point.cache), point.batch_size, point.batches, point.dataset_images, repetition, fixed_)
       << fmt::format("{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{},{},{:.6g},{:.6g},", m.start_s,
                      m.seconds, m.open_s, m.read_s, m.decode_s, m.make_s, m.wait_s, m.compute_s, m.images,
                      m.stored_bytes, m.images_per_s(), m.stored_bytes_per_s())
       << fmt::format("{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{},{},{},", m.batch_s.median, m.batch_s.p90,
                      m.batch_s.p99, m.slowest_batch_s, m.utilisation, m.resident_before, m.mode,
                      m.collective_reads.calls, m.collective_reads.collective)
       << fmt::format("{:.6f},{:.6f},{},{},{},{},{},", after.cpu_user_s - before.cpu_user_s,
                      after.cpu_system_s - before.cpu_system_s, after.read_bytes - before.read_bytes,
                      after.written_bytes - before.written_bytes, after.major_faults - before.major_faults,
                      after.involuntary_switches - before.involuntary_switches, after.peak_rss_bytes)
       << fmt::format("{:.2f},{:.2f},{},{},{},{:.3f},{},{}\n", node.cpu_busy_s - node_before.cpu_busy_s,
                      node.cpu_iowait_s - node_before.cpu_iowait_s, node.page_cache_bytes,
                      node.disk_read_bytes - node_before.disk_read_bytes, node.disk_reads - node_before.disk_reads,
                      node.disk_busy_s - node_before.disk_busy_s,
                      node.network_received_bytes - node_before.network_received_bytes,
                      node.network_sent_bytes - node_before.network_sent_bytes);
  require(out_.flush().good(), "cannot write {}. Is the disk full?", path_.string());
}

}  // namespace brigade::benchmarks
