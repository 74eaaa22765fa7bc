#include "brigade/communication/reducer.hpp"

#include "communicator_impl.hpp"
#include "watch.hpp"

namespace brigade::communication {

GradientReducer::GradientReducer(Communicator& communicator, const AllreduceOptions& options)
    : communicator_(&communicator), options_(options) {}

void GradientReducer::add(std::span<float> bucket) {
  if (communicator_->size() == 1) return;
  in_flight_.emplace_back(*communicator_, bucket, options_);
  progress();
}

// Every sum is moved on, not only the oldest: the links stay busy while one of them waits for a peer.
void GradientReducer::progress() {
  for (Allreduce& sum : in_flight_) sum.progress();
  while (!in_flight_.empty() && in_flight_.front().progress()) {
    bytes_sent_ += in_flight_.front().bytes_sent();
    in_flight_.pop_front();
  }
}

void GradientReducer::finish(std::string_view what) {
  if (in_flight_.empty()) return;
  Watch watch(*communicator_->impl(), what);
  for (std::size_t before = bytes_sent();;) {
    const std::size_t sums = in_flight_.size();
    progress();
    if (in_flight_.empty()) return;
    const std::size_t after = bytes_sent();
    after != before || in_flight_.size() != sums ? watch.moved() : watch.idle();
    before = after;
  }
}

std::size_t GradientReducer::bytes_sent() const {
  std::size_t bytes = bytes_sent_;
  for (const Allreduce& sum : in_flight_) bytes += sum.bytes_sent();
  return bytes;
}

}  // namespace brigade::communication
