// The sweep: all points, repetition by repetition, each checked before anything is measured.
#include "io.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "brigade/core/checksum.hpp"
#include "brigade/core/clock.hpp"
#include "brigade/core/error.hpp"
#include "brigade/dataset/sampling.hpp"
#include "io_measure.hpp"

namespace brigade::benchmarks {
namespace {

using communication::Communicator;

std::vector<dataset::ReaderMode> readers_of(IoFormat format, const IoSweep& sweep) {
  if (format == IoFormat::raw || format == IoFormat::encoded) return sweep.readers;
  return {dataset::ReaderMode::mmap};  // means nothing there
}

template <class A, class B>
std::vector<std::pair<A, B>> pairs_of(const std::vector<A>& first, const std::vector<B>& second) {
  std::vector<std::pair<A, B>> pairs;
  for (const A& a : first)
    for (const B& b : second) pairs.emplace_back(a, b);
  return pairs;
}

std::vector<IoTask> tasks_of(const Communicator& communicator, const IoData& data, const IoOptions& options) {
  std::vector<IoTask> tasks;
  const IoSweep& sweep = options.sweep;
  for (const IoFormat format : data.formats())
    for (const auto mode : readers_of(format, sweep))
      for (const auto& [order, cache] : pairs_of(sweep.orders, sweep.caches))
        for (const std::int64_t size : sweep.dataset_sizes)
          for (const std::int64_t batch : sweep.batch_sizes)
            for (const std::int64_t batches : sweep.batch_numbers) {
              const std::int64_t images = size == 0 ? data.samples() : size, global = batch * communicator.size();
              require<OptionError>(images <= data.samples(), "--dataset-size {} exceeds the {} images there are", size,
                                   data.samples());
              require<OptionError>(global <= images, "a batch of {} images on each of {} ranks exceeds the {} images",
                                   batch, communicator.size(), images);
              const bool shards = format == IoFormat::raw || format == IoFormat::encoded;
              dataset::ReaderOptions reader = options.reader;
              reader.mode = mode;
              tasks.push_back({.point = {.format = format,
                                         .reader = shards ? std::string(name_of(mode)) : "source",
                                         .order = order,
                                         .cache = cache,
                                         .batch_size = batch,
                                         .batches = batches,
                                         .dataset_images = images},
                               .reader = std::move(reader)});
            }
  return tasks;
}

// Depends on all pixels and labels, but not on the order of samples or the numbers of classes.
struct Digest {
  std::int64_t images = 0, sum = 0;
  bool operator==(const Digest&) const = default;
};

// Every image once, each rank its share; stored checksums are compared, too.
Digest digest_of(Communicator& communicator, const IoData& data, const IoTask& task) {
  constexpr std::int64_t kBatch = 64;
  auto reading = task.reader;
  reading.verify = dataset::Verify::always;
  std::array<std::int64_t, 2> counts{};
  const auto opened = data.open(communicator, task.point.format, reading, 1);
  const auto& reader = opened.readers.front();
  const auto& classes = data.classes(task.point.format);
  const auto own = dataset::part_of(reader->samples(), communicator.rank(), communicator.size());
  const auto bytes = static_cast<std::size_t>(reader->image().size());
  std::vector<std::uint8_t> pixels(bytes * kBatch);
  std::array<std::int32_t, kBatch> labels{};
  std::vector<std::int64_t> indices;
  const std::int64_t largest = (reader->samples() + communicator.size() - 1) / communicator.size();
  for (std::int64_t begin = 0; begin < largest; begin += kBatch) {  // as often on every rank, for collective readers
    indices.clear();
    for (std::int64_t i = own.begin + begin; i < std::min(own.end, own.begin + begin + kBatch); ++i)
      indices.push_back(i);
    reader->read(indices, pixels.data(), labels.data());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const auto& name = classes.at(static_cast<std::size_t>(labels[i]));
      const auto image = std::as_bytes(std::span(pixels)).subspan(i * bytes, bytes);
      counts[1] += crc32c(std::as_bytes(std::span(name)), crc32c(image));
    }
    counts[0] += static_cast<std::int64_t>(indices.size());
  }
  communicator.sum(counts, "summing checksums");
  return {counts[0], counts[1]};
}

void check(Communicator& communicator, const IoData& data, const std::vector<IoTask>& tasks) {
  std::map<std::string, Digest> digests;
  for (const auto& task : tasks) {
    const auto name = fmt::format("{} by {}", name_of(task.point.format), task.point.reader);
    if (!digests.contains(name)) digests[name] = digest_of(communicator, data, task);
  }
  const auto& [first, expected] = *digests.begin();
  for (const auto& [name, digest] : digests)
    require(digest == expected,
            "{} and {} deliver different images (of {} and {} images, checksums add up to {:x} and {:x}). Remove the "
            "formats, to have them made again?",
            name, first, digest.images, expected.images, digest.sum, expected.sum);
}

// The sum of what all ranks saw; times are means but the whole, which is the slowest rank's.
IoMeasurement over_ranks(Communicator& communicator, const RankMeasurement& row) {
  const IoMeasurement& mine = row.measured;
  const std::vector<double> latencies = communicator.all_gather(row.batch_s, "latencies");
  std::array most{mine.seconds, mine.first_pass_s, mine.resident_before};
  communicator.maximum(most, "times and page cache");
  std::array<double, 7> times{mine.open_s, mine.read_s,    mine.decode_s,   mine.make_s,
                              mine.wait_s, mine.compute_s, mine.utilisation};
  communicator.sum(times, "parts of times");
  for (double& time : times) time /= communicator.size();
  std::array counts{mine.images, mine.stored_bytes, mine.collective_reads.calls, mine.collective_reads.collective};
  communicator.sum(counts, "images");
  return {.start_s = mine.start_s,
          .seconds = most[0],
          .first_pass_s = most[1],
          .open_s = times[0],
          .read_s = times[1],
          .decode_s = times[2],
          .make_s = times[3],
          .wait_s = times[4],
          .compute_s = times[5],
          .images = counts[0],
          .stored_bytes = counts[1],
          .batch_s = quantiles(latencies),
          .slowest_batch_s = std::ranges::max(latencies),
          .utilisation = times[6],
          .resident_before = most[2],
          .mode = mine.mode,
          .collective_reads = {.calls = counts[2], .collective = counts[3]}};
}

}  // namespace

const char* name_of(Order order) { return order == Order::shuffled ? "shuffled" : "sequential"; }
const char* name_of(Cache cache) { return cache == Cache::warm ? "warm" : "cold"; }
const char* name_of(Pipeline pipeline) { return pipeline == Pipeline::read ? "read" : "train"; }

Quantiles IoRow::images_per_s() const {
  std::vector<double> values;
  for (const auto& repetition : repetitions) values.push_back(repetition.images_per_s());
  return quantiles(values);
}

IoReport measure_io(Communicator& communicator, const IoData& data, const IoOptions& options,
                    const std::function<void(std::int64_t, std::int64_t)>& progress) {
  IoReport report{.options = options,
                  .data = data.description(),
                  .image = data.image(),
                  .dataset_images = data.samples(),
                  .ranks = communicator.size(),
                  .nodes = (communicator.size() + communicator.node_size() - 1) / communicator.node_size()};
  std::vector<IoTask> tasks;
  IoLog log;
  collectively(communicator, "planning the sweep", [&] {
    tasks = tasks_of(communicator, data, options);
    if (!options.output.empty()) log = IoLog(options.output, communicator.rank(), communicator.size(), options);
  });
  for (const auto& task : tasks) report.rows.push_back({.point = task.point});
  if (options.check) check(communicator, data, tasks);
  const double start_s = now_s();
  const auto total = static_cast<std::int64_t>(tasks.size()) * options.sweep.repetitions;
  for (std::int64_t repetition = 0, done = 0; repetition < options.sweep.repetitions; ++repetition)
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const auto row = measure(communicator, data, options, tasks[i], start_s);
      collectively(communicator, "writing the log", [&] { log.write(tasks[i].point, repetition, row); });
      report.rows[i].repetitions.push_back(over_ranks(communicator, row));
      progress(++done, total);
    }
  return report;
}

}  // namespace brigade::benchmarks
