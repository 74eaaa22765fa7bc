// A ring of slots, batch b in slot b % slots: one is with the caller, the others are being filled or wait to be
// fetched.
//
//   claimed_ batches that a worker has begun (or finished)
//   fetched_ batches handed out
//   read_    batches whose samples are within reach, if the reader is collective
//   end_     the batch that will not come: the plan has ended there, or making it failed
//
// A worker claims the next batch as soon as the caller has asked for the one `slots - 1` before it, which gives the
// slot back, and makes it from beginning to end with a reader and scratch memory of its own. A collective reader speaks
// to other ranks, which only the caller's thread may do: there the caller fetches samples, and workers do the rest.
#include "brigade/dataset/batches.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>

#include "augment_picture.hpp"
#include "brigade/core/error.hpp"
#include "brigade/core/memory.hpp"
#include "brigade/core/processors.hpp"
#include "stage_clock.hpp"
#include "unpack.hpp"

namespace brigade::dataset {
namespace {

// Batches that take more do not fit into the last cache until they are used: they are written past it.
constexpr std::size_t kStreamingBytes = 24 << 20;

// a = share_a a + (1 - share_a) b, and b likewise with a.
void mix(float* __restrict a, float share_a, float* __restrict b, float share_b, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float x = a[i], y = b[i];
    a[i] = y + share_a * (x - y);
    b[i] = x + share_b * (y - x);
  }
}

ImageShape batch_shape(const ImageShape& stored, const StreamOptions& options) {
  return {options.height == 0 ? stored.height : options.height, options.width == 0 ? stored.width : options.width,
          stored.channels};
}

std::vector<std::unique_ptr<SplitReader>> in_a_vector(std::unique_ptr<SplitReader> reader) {
  std::vector<std::unique_ptr<SplitReader>> readers;
  readers.push_back(std::move(reader));
  return readers;
}

}  // namespace

struct BatchStream::Impl {
  Impl(std::vector<std::unique_ptr<SplitReader>> readers, BatchPlan plan, const StreamOptions& options);
  ~Impl();
  const Batch* next();
  StreamWork work() const;
  CollectiveReads collective_reads() const { return workers_.front().reader->collective_reads(); }

 private:
  struct Slot {
    Selection selection;
    StoredSamples stored;
    double fetch_s = 0;  // that it took to fetch them
    std::vector<std::int32_t> labels, mixed;
    std::vector<float> share;
    Buffer images;
    Batch batch;
    std::int64_t ready = -1;  // the batch it holds
  };
  struct Worker {
    std::unique_ptr<SplitReader> reader;
    PictureMaker make;
    ImagePart decoded;
    StreamWork work;  // on the batches finished
    std::thread thread;
  };

  bool plan(Slot& slot, std::int64_t batch);
  static void fetch(SplitReader& reader, Slot& slot);
  StreamWork make(Worker& worker, Slot& slot, std::int64_t batch) const;
  void fit(Slot& slot, std::size_t samples) const;
  void mix_pairs(Slot& slot) const;
  void run(Worker& worker);
  void end_at(std::int64_t batch, std::exception_ptr error);
  const Batch* make_now();
  void fetch_ahead();
  std::int64_t claimable() const;

  const BatchPlan plan_;
  const StreamOptions options_;
  const ImageShape stored_, shape_;
  std::vector<Slot> slots_;
  std::vector<Worker> workers_;
  const bool collective_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t claimed_ = 0, fetched_ = 0, read_ = 0, end_ = std::numeric_limits<std::int64_t>::max();
  bool stopping_ = false;
  std::exception_ptr error_;  // why the stream ends at end_, if not by plan
};

BatchStream::Impl::Impl(std::vector<std::unique_ptr<SplitReader>> readers, BatchPlan plan, const StreamOptions& options)
    : plan_(std::move(plan)),
      options_(options),
      stored_(readers.front()->image()),
      shape_(batch_shape(stored_, options)),
      slots_(static_cast<std::size_t>(options.prefetch) + 1),
      collective_(readers.front()->collective()) {
  const auto useful = std::min(readers.size(), static_cast<std::size_t>(std::max(1, options.prefetch)));
  for (std::size_t i = 0; i < useful; ++i)
    workers_.push_back({.reader = std::move(readers[i]),
                        .make = PictureMaker(stored_, shape_, options.mean, options.stddev),
                        .decoded = {},
                        .work = {},
                        .thread = {}});
  if (options.prefetch == 0) return;
  for (Worker& worker : workers_) worker.thread = std::thread([this, &worker] { run(worker); });
}

BatchStream::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (Worker& worker : workers_)
    if (worker.thread.joinable()) worker.thread.join();
}

// Memory is taken once per slot, on the thread that fills it, when the first batches show how large they are.
void BatchStream::Impl::fit(Slot& slot, std::size_t samples) const {
  const std::size_t bytes = samples * static_cast<std::size_t>(shape_.size()) * sizeof(float);
  if (slot.images.bytes() < bytes) slot.images = Buffer(host_memory(), bytes);
  if (slot.labels.size() < samples) slot.labels.resize(samples);
}

bool BatchStream::Impl::plan(Slot& slot, std::int64_t batch) {
  slot.selection.own = {};
  return plan_(options_.first + batch, slot.selection);
}

void BatchStream::Impl::fetch(SplitReader& reader, Slot& slot) {
  const Stopwatch fetching;
  reader.fetch(slot.selection.indices, slot.stored);
  slot.fetch_s = fetching.elapsed();
}

// Returns what this batch has taken.
StreamWork BatchStream::Impl::make(Worker& worker, Slot& slot, std::int64_t batch) const {
  const auto& [indices, own, epoch] = slot.selection;
  const auto out_floats = static_cast<std::size_t>(shape_.size());
  const bool mixed = options_.augmentation.mixup > 0;
  EXPECT(own.begin >= 0 && own.begin <= own.end && static_cast<std::size_t>(own.end) <= indices.size());
  fit(slot, indices.size());
  worker.make.stream(!mixed && slots_.size() * slot.images.bytes() > kStreamingBytes);
  StreamWork spent;
  const bool decodes = worker.reader->format().layout == Layout::encoded;
  StageClock clock(decodes);
  std::copy(slot.stored.labels.begin(), slot.stored.labels.end(), slot.labels.begin());
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const RandomKey key = augmentation_key(options_.seed, epoch, indices[i]);
    const auto recipe = draw_recipe(options_.augmentation, key, stored_, shape_);
    clock.begin(i);
    const auto stored = worker.reader->take(slot.stored, i);
    clock.end(spent.read.read_s);
    const auto view = unpack(*worker.reader, indices[i], stored, worker.make.needed(recipe), worker.decoded);
    clock.end(decodes ? spent.read.decode_s : spent.make_s);
    worker.make(recipe, view, slot.images.as<float>() + i * out_floats);
    clock.end(spent.make_s);
    spent.read.stored_bytes += static_cast<std::int64_t>(stored.size());
  }
  if (mixed) mix_pairs(slot);
  clock.finish(spent.read.read_s, spent.read.decode_s, spent.make_s);
  spent.read.read_s += slot.fetch_s;

  const auto begin = static_cast<std::size_t>(own.begin), count = static_cast<std::size_t>(own.size());
  slot.batch = {.images = {slot.images.as<const float>() + begin * out_floats, count * out_floats},
                .labels = std::span(slot.labels).subspan(begin, count),
                .indices = std::span(indices).subspan(begin, count),
                .mixed_label = {},
                .label_share = {},
                .number = options_.first + batch};
  if (mixed) {
    slot.batch.mixed_label = std::span(slot.mixed).subspan(begin, count);
    slot.batch.label_share = std::span(slot.share).subspan(begin, count);
  }
  return spent;
}

// A sample without a partner (the last of an odd global batch) stays as it is.
void BatchStream::Impl::mix_pairs(Slot& slot) const {
  const auto& [indices, own, epoch] = slot.selection;
  const auto floats = static_cast<std::size_t>(shape_.size());
  slot.mixed.assign(slot.labels.begin(), slot.labels.begin() + static_cast<std::ptrdiff_t>(indices.size()));
  slot.share.assign(indices.size(), 1.0F);
  for (std::size_t i = 0; i + 1 < indices.size(); i += 2) {
    std::swap(slot.mixed[i], slot.mixed[i + 1]);
    for (const std::size_t k : {i, i + 1})
      slot.share[k] = draw_share(options_.augmentation, augmentation_key(options_.seed, epoch, indices[k]));
    float* images = slot.images.as<float>() + i * floats;
    mix(images, slot.share[i], images + floats, slot.share[i + 1], floats);
  }
}

// The stream ends at the first batch that does not come.
void BatchStream::Impl::end_at(std::int64_t batch, std::exception_ptr error) {
  if (batch >= end_) return;
  end_ = batch;
  error_ = std::move(error);
}

void BatchStream::Impl::run(Worker& worker) {
  unpin_this_thread();
  const auto slots = static_cast<std::int64_t>(slots_.size());
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || end_ <= claimed_ || claimed_ < claimable(); });
    if (stopping_ || end_ <= claimed_) return;
    const std::int64_t batch = claimed_++;
    Slot& slot = slots_[static_cast<std::size_t>(batch % slots)];
    try {
      const bool more = collective_ || plan(slot, batch);
      lock.unlock();
      if (more && !collective_) fetch(*worker.reader, slot);
      const StreamWork spent = more ? make(worker, slot, batch) : StreamWork{};
      lock.lock();
      worker.work += spent;
      if (more)
        slot.ready = batch;
      else
        end_at(batch, nullptr);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      end_at(batch, std::current_exception());
    }
    lock.unlock();
    changed_.notify_all();
  }
}

// Batches [0, claimable()) may be made.
std::int64_t BatchStream::Impl::claimable() const {
  return collective_ ? read_ : fetched_ + static_cast<std::int64_t>(slots_.size()) - 1;
}

// Fetches, with the caller's reader, what workers will need; without the lock, for it waits for other ranks. Slots of
// batches not yet read belong to the caller.
void BatchStream::Impl::fetch_ahead() {
  const auto slots = static_cast<std::int64_t>(slots_.size());
  for (; read_ < std::min(end_, fetched_ + slots - 1);) {
    Slot& slot = slots_[static_cast<std::size_t>(read_ % slots)];
    if (!plan(slot, read_)) {
      const std::lock_guard lock(mutex_);
      end_at(read_, nullptr);
      return;
    }
    fetch(*workers_.front().reader, slot);
    {
      const std::lock_guard lock(mutex_);
      ++read_;
    }
    changed_.notify_all();
  }
}

const Batch* BatchStream::Impl::make_now() {
  Slot& slot = slots_.front();
  try {
    if (fetched_ < end_ && !plan(slot, fetched_)) end_at(fetched_, nullptr);
    if (fetched_ < end_) {
      fetch(*workers_.front().reader, slot);
      workers_.front().work += make(workers_.front(), slot, fetched_);
      ++fetched_;
      return &slot.batch;
    }
  } catch (...) {
    end_at(fetched_, std::current_exception());
  }
  if (error_) std::rethrow_exception(error_);
  return nullptr;
}

const Batch* BatchStream::Impl::next() {
  if (options_.prefetch == 0) return make_now();
  const auto slots = static_cast<std::int64_t>(slots_.size());
  std::unique_lock lock(mutex_);
  const std::int64_t batch = fetched_;
  Slot& slot = slots_[static_cast<std::size_t>(batch % slots)];
  if (batch < end_) ++fetched_;  // gives the slot of the batch before back
  changed_.notify_all();
  if (collective_) {
    lock.unlock();
    fetch_ahead();
    lock.lock();
  }
  changed_.wait(lock, [&] { return slot.ready == batch || batch >= end_; });
  if (slot.ready == batch) return &slot.batch;
  fetched_ = batch;
  if (error_) std::rethrow_exception(error_);
  return nullptr;
}

StreamWork BatchStream::Impl::work() const {
  const std::lock_guard lock(mutex_);
  StreamWork sum;
  for (const Worker& worker : workers_) sum += worker.work;
  return sum;
}

StreamWork& StreamWork::operator+=(const StreamWork& other) {
  read.read_s += other.read.read_s;
  read.decode_s += other.read.decode_s;
  read.stored_bytes += other.read.stored_bytes;
  make_s += other.make_s;
  return *this;
}

BatchStream::BatchStream(std::vector<std::unique_ptr<SplitReader>> readers, BatchPlan plan,
                         const StreamOptions& options) {
  require<OptionError>(options.prefetch >= 0 && options.prefetch <= 4096, "{} batches cannot be read ahead (0 to 4096)",
                       options.prefetch);
  EXPECT(!readers.empty());
  const ImageShape stored = readers.front()->image(), wanted = batch_shape(stored, options);
  require<OptionError>(wanted.height >= 1 && wanted.width >= 1 && wanted.height <= 65536 && wanted.width <= 65536,
                       "images of {}x{} pixels cannot be made", wanted.height, wanted.width);
  impl_ = std::make_unique<Impl>(std::move(readers), std::move(plan), options);
}
BatchStream::BatchStream(std::unique_ptr<SplitReader> reader, BatchPlan plan, const StreamOptions& options)
    : BatchStream(in_a_vector(std::move(reader)), std::move(plan), options) {}
BatchStream::~BatchStream() = default;
const Batch* BatchStream::next() { return impl_->next(); }
StreamWork BatchStream::work() const { return impl_->work(); }
CollectiveReads BatchStream::collective_reads() const { return impl_->collective_reads(); }

BatchPlan training_plan(std::int64_t samples, std::int64_t global_batch, Range share, std::uint64_t seed,
                        bool whole_pairs, const OrderOptions& how) {
  require<OptionError>(global_batch >= 1 && global_batch <= samples,
                       "the global batch of {} does not fit the {} training samples. Use a smaller --batch?",
                       global_batch, samples);
  EXPECT(share.begin >= 0 && share.begin <= share.end && share.end <= global_batch);
  const std::int64_t steps = steps_per_epoch(samples, global_batch, how.tail);
  Range read = share;
  if (whole_pairs) read = {share.begin / 2 * 2, std::min(global_batch, (share.end + 1) / 2 * 2)};
  return [=, order = std::optional<SampleOrder>(), order_epoch = std::int64_t{-1}](std::int64_t k,
                                                                                   Selection& selection) mutable {
    const std::int64_t epoch = k / steps;
    if (epoch != order_epoch) order.emplace(samples, seed, static_cast<std::uint32_t>(epoch), how);
    order_epoch = selection.epoch = epoch;
    selection.own = {share.begin - read.begin, share.end - read.begin};
    selection.indices.clear();
    for (std::int64_t i = read.begin; i < read.end; ++i)
      selection.indices.push_back((*order)((k % steps * global_batch + i) % samples));
    return true;
  };
}

BatchPlan evaluation_plan(Range range, std::int64_t batch, std::int64_t at_least) {
  require<OptionError>(batch >= 1, "a batch of {} samples cannot be evaluated", batch);
  return [=](std::int64_t k, Selection& selection) {
    auto& indices = selection.indices;
    indices.clear();
    const std::int64_t begin = range.begin + k * batch;
    for (std::int64_t i = begin; i < std::min(range.end, begin + batch); ++i) indices.push_back(i);
    selection.own = {0, static_cast<std::int64_t>(indices.size())};
    return !indices.empty() || k < at_least;
  };
}

}  // namespace brigade::dataset
