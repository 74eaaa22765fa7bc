// A ring of prefetch + 1 slots: one is with the caller, the others are being filled or wait to be fetched.
//
//   filled_  batches ready so far (the reading thread counts)
//   fetched_ batches handed out   (the caller counts)
//
// Batch b lives in slot b % slots. The reading thread may fill batch b as soon as the caller has asked for batch
// b - slots + 1, which gives batch b - slots back.
#include "brigade/dataset/batches.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "brigade/core/error.hpp"
#include "brigade/core/memory.hpp"
#include "normalise.hpp"

namespace brigade::dataset {

struct BatchStream::Impl {
  Impl(std::unique_ptr<SplitReader> reader, BatchPlan plan, const StreamOptions& options);
  ~Impl();
  const Batch* next();

 private:
  struct Slot {
    std::vector<std::int64_t> indices;
    std::vector<std::int32_t> labels;
    Buffer images;
    Batch batch;
  };

  bool fill(Slot& slot, std::int64_t number);
  void fit(Slot& slot, std::size_t samples) const;
  void read_ahead();

  const std::unique_ptr<SplitReader> reader_;
  const BatchPlan plan_;
  const std::int64_t first_;
  const std::size_t sample_bytes_;
  const Normaliser normalise_;
  std::vector<Slot> slots_;
  std::vector<std::uint8_t> pixels_;  // of the batch being read

  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t filled_ = 0, fetched_ = 0;
  bool ended_ = false, stopping_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

BatchStream::Impl::Impl(std::unique_ptr<SplitReader> reader, BatchPlan plan, const StreamOptions& options)
    : reader_(std::move(reader)),
      plan_(std::move(plan)),
      first_(options.first),
      sample_bytes_(static_cast<std::size_t>(reader_->image().size())),
      normalise_(options.mean, options.stddev, reader_->image().channels),
      slots_(static_cast<std::size_t>(options.prefetch) + 1) {
  if (options.prefetch > 0) thread_ = std::thread([this] { read_ahead(); });
}

BatchStream::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// Memory is taken once per slot, on the reading thread, when the first batches show how large they are.
void BatchStream::Impl::fit(Slot& slot, std::size_t samples) const {
  const std::size_t bytes = samples * sample_bytes_ * sizeof(float);
  if (slot.images.bytes() < bytes) slot.images = Buffer(host_memory(), bytes);
  if (slot.labels.size() < samples) slot.labels.resize(samples);
}

bool BatchStream::Impl::fill(Slot& slot, std::int64_t number) {
  if (!plan_(number, slot.indices)) return false;
  const std::size_t samples = slot.indices.size();
  fit(slot, samples);
  pixels_.resize(samples * sample_bytes_);
  reader_->read(slot.indices, pixels_.data(), slot.labels.data());
  normalise_(pixels_, slot.images.as<float>());
  slot.batch = {.images = {slot.images.as<const float>(), pixels_.size()},
                .labels = std::span(slot.labels).first(samples),
                .indices = slot.indices,
                .number = number};
  return true;
}

void BatchStream::Impl::read_ahead() {
  const auto slots = static_cast<std::int64_t>(slots_.size());
  for (std::int64_t batch = 0;; ++batch) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || batch < fetched_ + slots - 1; });
      if (stopping_) return;
    }
    bool more = false;
    std::exception_ptr error;
    try {
      more = fill(slots_[static_cast<std::size_t>(batch % slots)], first_ + batch);
    } catch (...) {
      error = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      error_ = error;
      ended_ = !more;
      filled_ += more ? 1 : 0;
    }
    changed_.notify_all();
    if (!more) return;
  }
}

const Batch* BatchStream::Impl::next() {
  if (!thread_.joinable()) {
    if (error_) std::rethrow_exception(error_);
    if (ended_) return nullptr;
    try {
      ended_ = !fill(slots_[0], first_ + fetched_);
    } catch (...) {
      error_ = std::current_exception();
      throw;
    }
    ++fetched_;
    return ended_ ? nullptr : &slots_[0].batch;
  }
  const auto slots = static_cast<std::int64_t>(slots_.size());
  std::unique_lock lock(mutex_);
  const std::int64_t batch = fetched_;
  if (!ended_ || batch < filled_) ++fetched_;  // gives the slot of the batch before back
  changed_.notify_all();
  changed_.wait(lock, [&] { return batch < filled_ || ended_; });
  if (batch < filled_) return &slots_[static_cast<std::size_t>(batch % slots)].batch;
  if (error_) std::rethrow_exception(error_);
  return nullptr;
}

BatchStream::BatchStream(std::unique_ptr<SplitReader> reader, BatchPlan plan, const StreamOptions& options) {
  require<OptionError>(options.prefetch >= 0 && options.prefetch <= 4096, "{} batches cannot be read ahead (0 to 4096)",
                       options.prefetch);
  impl_ = std::make_unique<Impl>(std::move(reader), std::move(plan), options);
}
BatchStream::~BatchStream() = default;
const Batch* BatchStream::next() { return impl_->next(); }

BatchPlan training_plan(std::int64_t samples, std::int64_t global_batch, Range share, std::uint64_t seed) {
  require<OptionError>(global_batch >= 1 && global_batch <= samples,
                       "the global batch of {} does not fit the {} training samples. Use a smaller --batch?",
                       global_batch, samples);
  EXPECT(share.begin >= 0 && share.begin <= share.end && share.end <= global_batch);
  const std::int64_t steps = samples / global_batch;
  return [=, order = std::optional<Permutation>(), order_epoch = std::int64_t{-1}](
             std::int64_t k, std::vector<std::int64_t>& indices) mutable {
    const std::int64_t epoch = k / steps;
    if (epoch != order_epoch) order.emplace(samples, seed, static_cast<std::uint32_t>(epoch));
    order_epoch = epoch;
    indices.clear();
    for (std::int64_t i = share.begin; i < share.end; ++i) indices.push_back((*order)(k % steps * global_batch + i));
    return true;
  };
}

BatchPlan evaluation_plan(Range range, std::int64_t batch) {
  require<OptionError>(batch >= 1, "a batch of {} samples cannot be evaluated", batch);
  return [=](std::int64_t k, std::vector<std::int64_t>& indices) {
    indices.clear();
    const std::int64_t begin = range.begin + k * batch;
    for (std::int64_t i = begin; i < std::min(range.end, begin + batch); ++i) indices.push_back(i);
    return !indices.empty();
  };
}

}  // namespace brigade::dataset
