#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "brigade/core/host_name.hpp"
#include "io.hpp"

namespace brigade::benchmarks {
namespace {

template <class Get>
double median_of(const IoRow& row, Get&& get) {
  std::vector<double> values;
  for (const auto& repetition : row.repetitions) values.push_back(get(repetition));
  return quantile(values, 0.5);
}

// As it was asked for, and what "auto" came to.
std::string reader_of(const IoRow& row) {
  const std::string& used = row.repetitions.front().mode;
  return used == row.point.reader ? used : fmt::format("{}: {}", row.point.reader, used);
}

// Of reader `collective`: whether HDF5 did what it was asked for.
void print_collective(const IoReport& report) {
  dataset::CollectiveReads reads;
  for (const IoRow& row : report.rows)
    for (const auto& repetition : row.repetitions) {
      reads.calls += repetition.collective_reads.calls;
      reads.collective += repetition.collective_reads.collective;
    }
  if (reads.calls > 0)
    fmt::print("collective: HDF5 did {} of {} reads collectively (H5Pget_mpio_actual_io_mode)\n", reads.collective,
               reads.calls);
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

// Of the time spent in open, storage, decoding and making, each part.
std::string parts(const IoRow& row) {
  const double open = median_of(row, [](const auto& m) { return m.open_s; });
  const double read = median_of(row, [](const auto& m) { return m.read_s; });
  const double decode = median_of(row, [](const auto& m) { return m.decode_s; });
  const double make = median_of(row, [](const auto& m) { return m.make_s; });
  const double all = open + read + decode + make;
  return fmt::format("{:>3.0f} {:>3.0f} {:>3.0f} {:>3.0f}", 100 * open / all, 100 * read / all, 100 * decode / all,
                     100 * make / all);
}

void print_heading(const IoReport& report) {
  const IoOptions& options = report.options;
  fmt::print("{}, delivered as {}x{}x{}; {} {} on {} {}\n", report.data, report.image.height, report.image.width,
             report.image.channels, report.ranks, report.ranks == 1 ? "rank" : "ranks", report.nodes,
             report.nodes == 1 ? "node" : "nodes");
  if (options.pipeline == Pipeline::read)
    fmt::print("batches of pixels, read by one thread of each rank\n");
  else
    fmt::print("batches as in training: {} data {} a rank, {} batches ahead, augmented ({}) and normalised\n",
               options.data_threads, options.data_threads == 1 ? "thread" : "threads", options.prefetch,
               dataset::to_string(options.augmentation));
  if (options.compute_s > 0)
    fmt::print(
        "after each batch, {:.0f} ms are slept as a step would compute; use = that time / all time, from the "
        "second step on\n",
        1e3 * options.compute_s);
  if (std::ranges::count(options.sweep.caches, Cache::cold) > 0)
    fmt::print(
        "cold: the files' pages were dropped by posix_fadvise(DONTNEED) before each measurement (not directories "
        "and inodes); cached: share found in memory by mincore before it\n");
  fmt::print("{}; median of {} repetitions (lowest to highest); images/s over all ranks, the slowest one's time\n",
             options.check ? "all images of every format and reader were read and compared first"
                           : "NOT checked (--skip-check)",
             options.sweep.repetitions);
  fmt::print("work: share in opening, reading, decoding and making pictures, percent of their sum\n\n");
}

}  // namespace

void print(const IoReport& report) {
  print_heading(report);
  const bool computing = report.options.compute_s > 0;
  fmt::print("{:<9}{:<19}{:<11}{:<6}{:>7}{:>9}{:>9}{:>11}{:>21}{:>9}{:>18}{:>17}{:>8}{}\n", "format", "reader", "order",
             "cache", "batch", "batches", "images", "images/s", "(low - high)", "MB/s", "batch ms p50/p99",
             "work: o r d m", "cached", computing ? "    use" : "");
  for (const IoRow& row : report.rows) {
    const Quantiles speed = row.images_per_s();
    double highest = 0;
    for (const auto& repetition : row.repetitions) highest = std::max(highest, repetition.images_per_s());
    const auto& point = row.point;
    fmt::print(
        "{:<9}{:<19}{:<11}{:<6}{:>7}{:>9}{:>9}{:>11.0f}{:>21}{:>9.1f}{:>18}{:>17}{:>8}{}\n", name_of(point.format),
        reader_of(row), name_of(point.order), name_of(point.cache), point.batch_size, point.batches,
        point.dataset_images, speed.median, fmt::format("({:.0f} - {:.0f})", speed.min, highest),
        1e-6 * median_of(row, [](const auto& m) { return m.stored_bytes_per_s(); }),
        fmt::format("{:.2f} / {:.2f}", 1e3 * median_of(row, [](const auto& m) { return m.batch_s.median; }),
                    1e3 * median_of(row, [](const auto& m) { return m.batch_s.p99; })),
        parts(row), percent(median_of(row, [](const auto& m) { return m.resident_before; })),
        computing ? fmt::format("{:>7}", percent(median_of(row, [](const auto& m) { return m.utilisation; }))) : "");
  }
  print_collective(report);
}

std::string to_json(const IoReport& report) {
  const IoOptions& options = report.options;
  nlohmann::ordered_json json = {{"benchmark", "io"},
                                 {"host", host_name()},
                                 {"data", report.data},
                                 {"image", {report.image.height, report.image.width, report.image.channels}},
                                 {"dataset_images", report.dataset_images},
                                 {"ranks", report.ranks},
                                 {"nodes", report.nodes},
                                 {"pipeline", name_of(options.pipeline)},
                                 {"prefetch", options.prefetch},
                                 {"data_threads", options.data_threads},
                                 {"augment", dataset::to_string(options.augmentation)},
                                 {"emulated_step_s", options.compute_s},
                                 {"checked", options.check},
                                 {"cold_cache_by", "posix_fadvise(DONTNEED) of the files' pages"},
                                 {"rows", nlohmann::ordered_json::array()}};
  for (const IoRow& row : report.rows) {
    nlohmann::ordered_json repetitions = nlohmann::ordered_json::array();
    for (const auto& m : row.repetitions)
      repetitions.push_back({{"seconds", m.seconds},
                             {"first_pass_s", m.first_pass_s},
                             {"images", m.images},
                             {"images_per_s", m.images_per_s()},
                             {"stored_bytes", m.stored_bytes},
                             {"stored_bytes_per_s", m.stored_bytes_per_s()},
                             {"open_s", m.open_s},
                             {"read_s", m.read_s},
                             {"decode_s", m.decode_s},
                             {"augment_s", m.make_s},
                             {"wait_data_s", m.wait_s},
                             {"compute_s", m.compute_s},
                             {"batch_p50_s", m.batch_s.median},
                             {"batch_p90_s", m.batch_s.p90},
                             {"batch_p99_s", m.batch_s.p99},
                             {"batch_max_s", m.slowest_batch_s},
                             {"utilisation", m.utilisation},
                             {"resident_before", m.resident_before},
                             {"reader_used", m.mode},
                             {"collective_calls", m.collective_reads.calls},
                             {"collective_reads", m.collective_reads.collective}});
    const Quantiles speed = row.images_per_s();
    json["rows"].push_back(
        {{"format", name_of(row.point.format)},
         {"reader", row.point.reader},
         {"order", name_of(row.point.order)},
         {"cache", name_of(row.point.cache)},
         {"batch_size", row.point.batch_size},
         {"batches", row.point.batches},
         {"dataset_images", row.point.dataset_images},
         {"images_per_s", {{"min", speed.min}, {"p10", speed.p10}, {"median", speed.median}, {"p90", speed.p90}}},
         {"repetitions", repetitions}});
  }
  return json.dump(2) + "\n";
}

}  // namespace brigade::benchmarks
