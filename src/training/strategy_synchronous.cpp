#include "strategy.hpp"

namespace brigade::training {

Synchronous::Synchronous(communication::Communicator& communicator, const communication::AllreduceOptions& allreduce,
                         TensorView array, const network::Executor& executor, std::size_t bucket_bytes, StepShare share)
    : reducer_(communicator, allreduce), array_(array), share_(share) {
  // A bucket is closed by the first layer border at or beyond its size; the front of the array goes last.
  const auto& parameters = executor.parameters();
  std::int64_t end = array.shape.size();
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p) {
    const std::int64_t begin = executor.gradients_offset() + p->offset;
    if (static_cast<std::size_t>(end - begin) * sizeof(float) < bucket_bytes) continue;
    buckets_.push_back(begin);
    end = begin;
  }
  if (buckets_.empty() || buckets_.back() != 0) buckets_.push_back(0);
}

void Synchronous::ready(std::int64_t offset) {
  while (added_ < buckets_.size() && buckets_[added_] >= offset) {
    const std::int64_t begin = buckets_[added_];
    const std::int64_t end = added_ == 0 ? array_.shape.size() : buckets_[added_ - 1];
    reducer_.add({array_.f32() + begin, static_cast<std::size_t>(end - begin)});
    ++added_;
  }
  reducer_.progress();
}

void Synchronous::reduce(std::string_view what) {
  ready(0);
  reducer_.finish(what);
  added_ = 0;
}

}  // namespace brigade::training
