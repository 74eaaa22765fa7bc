#include "strategy.hpp"

#include <algorithm>
#include <utility>

namespace brigade::training {

Synchronous::Synchronous(communication::Communicator& communicator, const communication::AllreduceOptions& allreduce,
                         TensorView array, const network::Executor& executor, std::size_t bucket_bytes, StepShare share,
                         Tuned tuned)
    : communicator_(communicator),
      reducer_(communicator, allreduce),
      array_(array),
      share_(share),
      tuned_(std::move(tuned)) {
  const auto& parameters = executor.parameters();
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p)
    borders_.push_back(executor.gradients_offset() + p->offset);
  if (bucket_bytes == 0) tuning_.emplace(array.bytes());
  cut(tuning_ ? tuning_->bytes() : bucket_bytes);
}

// A bucket is closed by the first layer border at or beyond its size; the front of the array goes last.
void Synchronous::cut(std::size_t bucket_bytes) {
  buckets_.clear();
  std::int64_t end = array_.shape.size();
  for (const std::int64_t begin : borders_) {
    if (static_cast<std::size_t>(end - begin) * sizeof(float) < bucket_bytes) continue;
    buckets_.push_back(begin);
    end = begin;
  }
  if (buckets_.empty() || buckets_.back() != 0) buckets_.push_back(0);
}

std::int64_t Synchronous::bucket_end(std::size_t bucket) const {
  return bucket == 0 ? array_.shape.size() : buckets_[bucket - 1];
}

std::vector<std::size_t> Synchronous::summed_bytes() const {
  std::vector<std::size_t> bytes;
  for (std::size_t i = 0; i < buckets_.size(); ++i)
    bytes.push_back(static_cast<std::size_t>(bucket_end(i) - buckets_[i]) * sizeof(float));
  return bytes;
}

void Synchronous::ready(std::int64_t offset) {
  if (added_ == 0 && tuning_ && offset > 0 && !timing_) timing_ = true, since_first_ = Stopwatch();
  while (added_ < buckets_.size() && buckets_[added_] >= offset) {
    const std::int64_t begin = buckets_[added_];
    const std::int64_t end = bucket_end(added_);
    reducer_.add({array_.f32() + begin, static_cast<std::size_t>(end - begin)});
    ++added_;
  }
  reducer_.advance();
}

void Synchronous::reduce(std::string_view what) {
  ready(0);
  reducer_.finish(what);
  added_ = 0;
  if (tuning_) tune();
}

void Synchronous::tune() {
  tuning_->took(since_first_.elapsed(), communicator_);
  timing_ = false;
  cut(tuning_->bytes());
  if (!tuning_->done()) return;
  tuned_(std::min(tuning_->bytes(), array_.bytes()), tuning_->report());
  tuning_.reset();
}

}  // namespace brigade::training
