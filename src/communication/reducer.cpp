#include "brigade/communication/reducer.hpp"

#include "communicator_impl.hpp"
#include "watch.hpp"

namespace brigade::communication {

GradientReducer::GradientReducer(Communicator& communicator, const AllreduceOptions& options)
    : communicator_(&communicator), options_(options) {}

void GradientReducer::add(std::span<float> bucket) {
  if (communicator_->size() == 1) return;
  in_flight_.emplace_back(*communicator_, bucket, options_);
  advance();
}

// Every sum is moved on, not only the oldest: the links stay busy while one of them waits for a peer.
bool GradientReducer::advance() {
  bool moved = false;
  for (Allreduce& sum : in_flight_) moved |= sum.advance();
  while (!in_flight_.empty() && in_flight_.front().done()) {
    bytes_sent_ += in_flight_.front().bytes_sent();
    in_flight_.pop_front();
  }
  return moved;
}

void GradientReducer::finish(std::string_view what) {
  if (in_flight_.empty()) return;
  Watch watch(*communicator_->impl(), what);
  for (;;) {
    const bool moved = advance();
    if (in_flight_.empty()) return;
    moved ? watch.moved() : watch.idle();
  }
}

std::size_t GradientReducer::bytes_sent() const {
  std::size_t bytes = bytes_sent_;
  for (const Allreduce& sum : in_flight_) bytes += sum.bytes_sent();
  return bytes;
}

}  // namespace brigade::communication
