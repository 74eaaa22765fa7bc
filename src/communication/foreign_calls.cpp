#include "foreign_calls.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "brigade/core/clock.hpp"
#include "brigade/core/host_name.hpp"
#include "brigade/core/processors.hpp"
#include "check_mpi.hpp"

namespace brigade::communication {
namespace {

constexpr auto kPeriod = std::chrono::milliseconds(100);  // of looking around, and of signs of life
constexpr double kSilent_s = 1;                           // without a sign of life: stopped, or its node swaps

class ForeignCall final : public WatchedCall {
 public:
  ForeignCall(ForeignCalls& calls, std::string_view what) : calls_(calls) { calls_.enter(what); }
  ~ForeignCall() override { calls_.leave(); }
  ForeignCall(const ForeignCall&) = delete;
  ForeignCall& operator=(const ForeignCall&) = delete;

 private:
  ForeignCalls& calls_;
};

}  // namespace

std::unique_ptr<WatchedCall> Communicator::watch_call(std::string_view what) {
  if (!impl_) return Team::watch_call(what);
  if (!impl_->foreign_calls) impl_->foreign_calls = std::make_unique<ForeignCalls>(*impl_);
  return std::make_unique<ForeignCall>(*impl_->foreign_calls, what);
}

ForeignCalls::ForeignCalls(Communicator::Impl& impl) : impl_(impl), thread_([this] { run(); }) {}

ForeignCalls::~ForeignCalls() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ending_changed_.notify_one();
  thread_.join();
}

void ForeignCalls::enter(std::string_view what) {
  const std::lock_guard lock(mutex_);
  EXPECT(!inside_);
  what_ = what;
  since_s_ = now_s();
  patience_s_ = impl_.world->hang_timeout_s;
  inside_ = true;
}

void ForeignCalls::leave() {
  const std::lock_guard lock(mutex_);
  inside_ = false;
}

// Nobody wakes the thread, so that enter() and leave() cost next to nothing.
void ForeignCalls::run() {
  unpin_this_thread();
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (impl_.world->presence) impl_.world->presence->live(now_s());
    if (inside_) look_around(now_s());
    ending_changed_.wait_for(lock, kPeriod, [&] { return ending_; });
  }
}

void ForeignCalls::look_around(double now) {
  if (impl_.world->presence)
    if (const auto missing = impl_.world->presence->missing()) end_process(ended_without_a_word(*missing, what_));
  const double waited_s = now - since_s_;
  if (waited_s > patience_s_)
    end_process(fmt::format("{} has been in '{}' for {:.4g} s {}", impl_.world->name(impl_.world_rank(impl_.rank)),
                            what_, waited_s, who_is_late()));
}

std::string ForeignCalls::who_is_late() const {
  if (impl_.world->presence)
    if (const auto silent = impl_.world->presence->silent_since(now_s() - kSilent_s))
      return fmt::format("(no sign of life from rank {} on host {}). Is that rank stopped, or its host out of memory?",
                         *silent, host_name());
  return "(the ranks of this host are alive). Is the storage slow, or a rank on another host stopped?";
}

void ForeignCalls::end_process(const std::string& problem) const {
  fmt::print(stderr, "brigade: error on rank {} ({}): {}\n", impl_.world_rank(impl_.rank), host_name(), problem);
  std::fflush(stderr);
  if (impl_.last_words) impl_.last_words(problem);
  if (impl_.world->presence) impl_.world->presence->leave();
  std::_Exit(static_cast<int>(ExitCode::peer_lost));
}

}  // namespace brigade::communication
