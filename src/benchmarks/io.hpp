// `brigade bench io`: the trainer's own reading, alone, over formats, readers, batches, caches. For cli only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "brigade/communication/communicator.hpp"
#include "brigade/dataset/augment.hpp"
#include "brigade/dataset/reader.hpp"
#include "io_data.hpp"
#include "statistics.hpp"

namespace brigade::benchmarks {

enum class Cache : std::uint8_t { warm, cold };

enum class Order : std::uint8_t {
  shuffled,    // as training has it
  sequential,  // as the images lie in the files
};

// How far a batch goes.
enum class Pipeline : std::uint8_t {
  read,   // pixels in memory, by one thread
  train,  // as the trainer has it: data threads, augmented, normalised, made ahead
};

// Every combination is measured `repetitions` times.
struct IoSweep {
  std::vector<IoFormat> formats = {};
  std::vector<dataset::ReaderMode> readers = {dataset::ReaderMode::automatic};  // of shards
  std::vector<Order> orders = {Order::shuffled};
  std::vector<Cache> caches = {Cache::warm};
  std::vector<std::int64_t> batch_sizes = {64};    // images of one rank
  std::vector<std::int64_t> batch_numbers = {20};  // batches of one measurement
  std::vector<std::int64_t> dataset_sizes = {0};   // images that are read, over and over if need be; 0: all
  std::int64_t repetitions = 5;
};

struct IoOptions {
  IoSweep sweep = {};
  Pipeline pipeline = Pipeline::train;
  int prefetch = 3, data_threads = 1;  // of Pipeline::train
  dataset::ReaderOptions reader = {};  // of shards; the mode is the sweep's
  dataset::Augmentation augmentation = {};
  std::int64_t crop_size = 0;         // of the pictures made; 0: as stored
  double compute_s = 0;               // slept after each batch, as a training step would compute
  bool check = true;                  // all pixels of all formats, before anything is measured
  std::uint64_t seed = 1;             // of the order
  std::filesystem::path output = {};  // directory of the logs; empty: none
};

// One combination.
struct IoPoint {
  IoFormat format = IoFormat::raw;
  std::string reader;  // as it is called on the command line, or "source" for formats that are no shards
  Order order = Order::shuffled;
  Cache cache = Cache::warm;
  std::int64_t batch_size = 0, batches = 0, dataset_images = 0;
};

// What one rank saw, or the sum over ranks.
struct IoMeasurement {
  double start_s = 0;       // since the benchmark began
  double seconds = 0;       // from the first batch asked for to the last one had; of the slowest rank
  double first_pass_s = 0;  // of it, until each image had been read once; all of it, if they were not read again
  double open_s = 0;        // opening files, before that
  double read_s = 0;        // of all data threads: in storage and page cache,
  double decode_s = 0;      // in decoding and resizing,
  double make_s = 0;        // in augmenting and normalising
  double wait_s = 0;        // until batches were there
  double compute_s = 0;     // slept
  std::int64_t images = 0, stored_bytes = 0;
  Quantiles batch_s = {};  // from asking for a batch to having it
  double slowest_batch_s = 0;
  double utilisation = 0;      // share of time computing, from the second step on; 0 without emulated computing
  double resident_before = 0;  // share of the format's files in the page cache
  std::string mode;            // how shards were read, where the point says "auto"; otherwise as it says
  dataset::CollectiveReads collective_reads = {};  // of reader `collective`

  double images_per_s() const { return static_cast<double>(images) / seconds; }
  double stored_bytes_per_s() const { return static_cast<double>(stored_bytes) / seconds; }
};

struct IoRow {
  IoPoint point;
  std::vector<IoMeasurement> repetitions = {};  // of all ranks together

  Quantiles images_per_s() const;
};

struct IoReport {
  IoOptions options;
  std::string data;  // in words
  dataset::ImageShape image;
  std::int64_t dataset_images = 0;
  int ranks = 1, nodes = 1;
  std::vector<IoRow> rows = {};
};

// Measures every point of the sweep; repetition by repetition, so that what disturbs one disturbs all. All ranks get
// the report. `progress` is told of measurements done and to do. Throws DataError if formats or readers do not deliver
// the same pixels and labels.
IoReport measure_io(communication::Communicator& communicator, const IoData& data, const IoOptions& options,
                    const std::function<void(std::int64_t done, std::int64_t total)>& progress);

void print(const IoReport& report);
std::string to_json(const IoReport& report);

const char* name_of(Order order);
const char* name_of(Cache cache);
const char* name_of(Pipeline pipeline);

}  // namespace brigade::benchmarks
